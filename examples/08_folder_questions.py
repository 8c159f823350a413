"""Questions about a folder of text and Markdown files: the tour of the framework, and `penguiflow demo`.

    ask ──> find ──> read ──> split ──> index ──> retrieve ──> answer
      └──────────────────────────────────────────────┘

`find` spreads into one message per file; four at a time are read, in threads; `index` gathers them again.
`retrieve` joins the two ways that start at `ask`. `answer` yields: its text is a stream of tokens. No model
is asked: sentences are quoted, and the answer says so. Put a model in its place.
"""

import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio

from penguiflow import Flow, Gathered, Spread, node

try:
    import bm25s
except ImportError as error:
    raise ImportError("this needs the ranking library bm25s: pip install 'penguiflow[demo]'") from error


@dataclass(frozen=True)
class Question:
    folder: Path
    text: str


@dataclass(frozen=True)
class Passage:
    path: Path
    line: int
    text: str


@dataclass(frozen=True)
class Found:
    question: Question
    passages: list[Passage]


class Index:
    """A ranking of texts; bm25s does the work."""

    def __init__(self, texts: list[str]) -> None:
        tokens, self._ranking = words(texts), bm25s.BM25()
        self._known = {word for text in tokens for word in text}
        if self._known:
            self._ranking.index(tokens, show_progress=False)

    def best(self, question: str, most: int) -> list[int]:
        """Give the numbers of the texts that fit best, best first."""
        asked = [word for word in words([question])[0] if word in self._known]
        if not asked:
            return []
        scores = self._ranking.get_scores(asked)
        return [number for number in (-scores).argsort(kind="stable")[:most].tolist() if scores[number] > 0]


@node
def ask(question: Question) -> Question:
    return question


@node(thread=True)
def find(question: Question) -> Spread[Path]:
    return Spread(list(documents_in(question.folder)))


@node(thread=True, concurrency=4)
def read(path: Path) -> Passage | None:
    try:
        return Passage(path, 1, path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None


@node
def split(file: Passage) -> list[Passage]:
    """Make a passage of every paragraph and list item; headings, tables and code are left out."""
    passages, begun, in_code = list[Passage](), list[str](), False
    for number, line in enumerate([*file.text.splitlines(), ""], start=1):
        fence = line.lstrip().startswith(("```", "~~~"))
        aside = in_code or fence or not line.strip() or line.startswith(("#", "|", "    "))
        if begun and (aside or re.match(r"\s*([-*+]|\d[\d.]*[.)])\s", line)):
            passages.append(Passage(file.path, number - len(begun), "\n".join(begun)))
            begun = []
        if not aside:
            begun.append(line)
        in_code ^= fence
    return passages


@node(thread=True)
def index(parts: Gathered[list[Passage]]) -> tuple[list[Passage], Index]:
    passages = [passage for part in parts for passage in part]
    return passages, Index([passage.text for passage in passages])


@node(thread=True)
def retrieve(ask: Question, index: tuple[list[Passage], Index]) -> Found:
    passages, ranking = index
    return Found(ask, [passages[number] for number in ranking.best(ask.text, 5)])


@node
async def answer(found: Found) -> AsyncIterator[str]:
    quotes = [(text, passage) for passage in found.passages for text in sentences(passage.text)]
    best = Index([text for text, _ in quotes]).best(found.question.text, 4)
    cited = list(dict.fromkeys(quotes[number][1] for number in best))
    yield "No model was asked; " + ("the files say:\n\n" if cited else "the files say nothing on that.")
    for text, passage in (quotes[number] for number in best):
        for token in re.findall(r"\S+\s*", f"- {text} [{cited.index(passage) + 1}]\n"):
            yield token
    for number, passage in enumerate(cited, start=1):
        yield f"\n[{number}] {passage.path.relative_to(found.question.folder)}, line {passage.line}"


flow = Flow("folder_questions", ask >> find >> read >> split >> index >> retrieve >> answer, ask >> retrieve)


def documents_in(folder: Path) -> Iterator[Path]:
    """Find the text and Markdown files of a folder, by name; hidden folders are left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        yield from (Path(place, name) for name in sorted(names) if name.endswith((".md", ".rst", ".txt")))


def sentences(text: str) -> list[str]:
    text = re.sub(r"(?m)^[\s>]*((#+|[-*+]|\d[\d.]*[.)])\s+)?", "", text)  # no marks of lines,
    text = " ".join(re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text).split())  # no targets of links,
    text = re.sub(r"(?<![\w`])([*_]{1,3})(\S|\S.*?\S)\1(?![\w`])", r"\2", text)  # no marks of emphasis
    return [part for part in re.split(r"(?<=[.!?])\s+(?=\W*[A-Z])", text) if len(part.split()) > 3]


def words(texts: list[str]) -> list[list[str]]:
    tokens = bm25s.tokenize(texts, stopwords="en_plus", return_ids=False, show_progress=False)
    return [[word.removesuffix("s") for word in text] for text in tokens]


if __name__ == "__main__":
    print(*anyio.run(flow.call, Question(Path(sys.argv[1]), sys.argv[2])), sep="")
