"""Turn what stands on the command line, or comes in by standard input, into the payload of a run.

Text stays text where an entry takes text; else it is read as JSON and validated by the entry's type. Knows
nothing of runs: what it gives is handed to `runtime.run`.
"""

from collections.abc import AsyncIterator
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from penguiflow import Flow
from penguiflow.cli.errors import CommandError
from penguiflow.cli.terminal import read_all, read_lines
from penguiflow.node import Takes
from penguiflow.plan import Site

NOTHING = object()
"""Stands for: no input was given."""


def payload(flow: Flow, given: str | None, *, lines: bool) -> Any:
    """Give the payload of the run, or `NOTHING` where only the flow's sources are to run.

    Args:
        given: the text itself, `-` for standard input, `None` for nothing.
        lines: send each line as a chunk of one stream; flows whose entries take a stream are fed like this
            anyway.
    """
    entries = flow.plan.entries
    if given is None:
        if flow.plan.sources:
            return NOTHING
        raise CommandError(f"flow {flow.name!r} needs an input: a text, or - for standard input")
    if not entries:
        raise CommandError(f"flow {flow.name!r} takes no input: its sources start by themselves")
    if lines or all(site.signature.takes in (Takes.STREAM, Takes.CHUNK) for site in entries):
        return _each_line(entries, given)
    if given == "-":
        return parse(entries, read_all())
    return parse(entries, given.encode(errors="surrogateescape"))


def parse(entries: tuple[Site, ...], data: bytes, line: int = 0) -> Any:
    """Give the value that the first entry which can take it makes of the text.

    Args:
        line: the number of the line that the text is; 0 where it is the whole input.

    Raises:
        CommandError: no entry can take it.
    """
    problems = []
    for site in entries:
        try:
            return _value(site.signature.type, data)
        except ValidationError as error:
            problems.append(f"entry {site.key!r} {_problem(error)}")
        except PydanticUserError:
            problems.append(f"entry {site.key!r} takes {_name(site)}, which can't be made of text")
        except UnicodeDecodeError as error:
            problems.append(f"entry {site.key!r} takes text, and it is not UTF-8: {error.reason}")
    what = f"line {line} of the input" if line else "the input"
    raise CommandError(f"{what} does not fit: " + "; ".join(problems))


async def _each_line(entries: tuple[Site, ...], given: str) -> AsyncIterator[Any]:
    number = 0
    if given == "-":
        async for line in read_lines():
            number += 1
            yield parse(entries, line, number)
        return
    for number, text in enumerate(given.splitlines(), start=1):
        yield parse(entries, text.encode(errors="surrogateescape"), number)


def _value(kind: Any, data: bytes) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    if kind is bytes:
        return data
    text = data.decode().removesuffix("\n")  # what `echo` adds is not meant
    try:
        return adapter.validate_python(text, strict=True)
    except ValidationError:
        pass
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        if error.errors()[0]["type"] != "json_invalid":
            raise
        as_json = error
    try:
        return adapter.validate_strings(text)
    except ValidationError:
        raise as_json from None


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"takes {error.title}: {where + ': ' if where else ''}{first['msg']}"


def _name(site: Site) -> str:
    kind = site.signature.type
    return kind.__qualname__ if isinstance(kind, type) else str(kind)
