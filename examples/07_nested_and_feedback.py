"""A flow as a node of another flow, and a loop that goes on until the result is good enough.

The nested flow belongs to the same run: its streams pass through, `item.path` says where an item comes
from. A feedback edge never makes its sender wait; what goes round too often ends with `HopLimitExceeded`.

It prints::

    publish: Snow is white. (3 rounds)
    writing/say: Snow.
"""

from dataclasses import dataclass, replace

import anyio

from penguiflow import Flow, edge, node

GOOD = "Snow is white."


@dataclass(frozen=True)
class Draft:
    words: int
    text: str = ""
    rounds: int = 0


@node
async def write(draft: Draft) -> Draft:
    words = draft.words + 1
    return Draft(words, " ".join(GOOD.split()[:words]).rstrip(".") + ".", draft.rounds + 1)


@node
async def review(draft: Draft) -> Draft:
    return replace(draft, rounds=draft.rounds)


def is_good(draft: Draft) -> bool:
    return draft.text == GOOD


def is_poor(draft: Draft) -> bool:
    return not is_good(draft)


@node
async def publish(draft: Draft) -> str:
    return f"{draft.text} ({draft.rounds} rounds)"


@node
async def start(topic: str) -> Draft:
    return Draft(words=0)


@node
async def say(draft: Draft) -> str:
    return draft.text


flow = Flow(
    "article",
    start >> write >> review >> edge(when=is_good) >> publish,
    review >> edge(when=is_poor, feedback=True) >> write,
)
writing = Flow("writing", start >> write >> say)
outer = Flow("outer", writing)


async def main() -> None:
    for each in (flow, outer):
        async with each.open() as runtime, runtime.run("snow") as run:
            async for item in run:
                print(f"{'/'.join(item.path)}: {item.payload}")


if __name__ == "__main__":
    anyio.run(main)
