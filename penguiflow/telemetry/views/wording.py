"""Wording: how times, sizes and names look in a terminal.

Owns that alone. Invariant: what comes from outside can't move the cursor, nor colour anything.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator

from ..records import ErrorRecord

BOLD, DIM, RED, GREEN, YELLOW, BLUE, CYAN = "1", "2", "31", "32", "33", "34", "36"

COLOUR = re.compile(r"\x1b\[[0-9;]*m")

STATUS_COLOURS: tuple[tuple[str, str], ...] = (
    ("done", GREEN),
    ("running", CYAN),
    ("paused", YELLOW),
    ("failed", RED),
    ("lost", RED),
    ("expired", YELLOW),
    ("interrupted", YELLOW),
    ("cancelled", YELLOW),
)


def seconds(value: float) -> str:
    """Write a duration with three digits at most."""
    if value <= 0:
        return "0 s"
    if value < 0.0009995:
        return f"{value * 1e6:.0f} µs"
    if value < 0.00995:
        return f"{value * 1e3:.1f} ms"
    if value < 0.9995:
        return f"{value * 1e3:.0f} ms"
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 99.95:
        return f"{value:.1f} s"
    if value < 7200:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60)} min"


def size(count: float) -> str:
    """Write a number of bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.1f} {unit}"


def number(count: float) -> str:
    """Write a count, large ones with their thousands set apart."""
    return f"{count:,.0f}".replace(",", " ")


def rate(count: float) -> str:
    """Write how often something happens in a second."""
    return f"{count:.1f}/s" if 0 < count < 99.95 else f"{number(count)}/s"


def moment(at: float) -> str:
    """Write a time of day, here and with its date."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03}"


def counted(count: int, word: str) -> str:
    """Write how many there are."""
    return f"{number(count)} {word}{'' if count == 1 else 's'}"


def clean(text: object) -> str:
    """Put a text on one line, without anything that a terminal would obey."""
    line = " ".join(str(text).split())
    return "".join(char if char.isprintable() else "�" for char in line)


def columns(text: str) -> int:
    """Say how wide a text is in a terminal, in characters; some letters take two places, some none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def fit(text: str, width: int) -> str:
    """Bring a text to a width: fill it up with spaces, or cut out its middle."""
    wide = columns(text)
    if wide <= width:
        return text + " " * (width - wide)
    if width < 2:
        return "…"[:width]
    short = f"{_cut(text, width // 2)}…{_cut(text[::-1], (width - 1) // 2)[::-1]}"
    return short + " " * (width - columns(short))


def _cut(text: str, width: int) -> str:
    """Give as much of the beginning of a text as fits."""
    if text.isascii():
        return text[:width]
    wide = 0
    for index, char in enumerate(text):
        wide += columns(char)
        if wide > width:
            return text[:index]
    return text


def shorten(text: str, width: int) -> str:
    """Cut the end off a text that is too long."""
    return text if columns(text) <= width else f"{_cut(text, max(0, width - 1))}…"


def brief(error: ErrorRecord) -> str:
    """Write an error on one line."""
    return clean(f"{error.kind}: {error.text}" if error.text else error.kind)


def wrapped(words: list[str], width: int, between: str = "   ") -> Iterator[str]:
    """Put words on lines that are no wider than told; colours take no place."""
    line, wide = "", 0
    for word in words:
        long = _visible(word)
        if line and wide + len(between) + long > width:
            yield line
            line, wide = "", 0
        line, wide = (f"{line}{between}{word}", wide + len(between) + long) if line else (word, long)
    if line:
        yield line


def _visible(text: str) -> int:
    """Say how wide a text is, without what colours it."""
    return columns(COLOUR.sub("", text))


class Paint:
    """Colours text, or leaves it as it is.

    Args:
        colour: whether there are colours.
    """

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, *codes: str) -> str:
        """Give a text in colour; an empty one stays empty."""
        if not self._colour or not codes or not text.strip():
            return text
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m"

    def status(self, status: str, text: str = "") -> str:
        """Give a status, or a text in the colour of it."""
        return self(text or status, *(code for name, code in STATUS_COLOURS if name == status))
