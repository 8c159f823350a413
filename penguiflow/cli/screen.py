"""The terminal as a screen that is drawn again and again.

Owns its second page, its cursor and its keyboard while something is shown there. Invariant: when it is
left, by whatever way, the terminal is as it was. Knows nothing of what is shown.
"""

import io
import os
import select
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TextIO

try:
    import termios
    import tty
except ImportError:  # Windows has its own ways: there, only Ctrl-C is heard
    termios = tty = None  # type: ignore[assignment]


def width() -> int:
    """Say how many characters a line has; ``COLUMNS`` decides where it is set."""
    return shutil.get_terminal_size((100, 40)).columns


def coloured(stream: TextIO) -> bool:
    """Say whether a stream shows colours, and is wanted to (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say_all() -> None:
    """Spell out, on standard output, the letters that it has no code for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class Screen:
    """Shows texts in place of one another, and hears the key ``q``.

    Args:
        plain: there is no screen, and nothing is drawn.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._keyboard: int | None = None
        self._restore: Callable[[], None] | None = None

    def __enter__(self) -> "Screen":
        """Turn to the second page."""
        if self._plain:
            return self
        if termios is not None and tty is not None and sys.stdin is not None and sys.stdin.isatty():
            keyboard = self._keyboard = sys.stdin.fileno()
            self._restore = partial(
                termios.tcsetattr, keyboard, termios.TCSADRAIN, termios.tcgetattr(keyboard)
            )
            tty.setcbreak(keyboard)
        sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[?7l")
        sys.stdout.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Turn back."""
        if self._plain:
            return
        if self._restore is not None:
            self._restore()
        sys.stdout.write("\x1b[?7h\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()

    def draw(self, text: str) -> None:
        """Show a text, as much of it as there are lines."""
        lines, most = text.split("\n"), shutil.get_terminal_size((100, 40)).lines
        if len(lines) > most:
            lines = [*lines[: most - 1], f"… {len(lines) - most + 1} more lines"]
        sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines)[:-1] + "\x1b[J")
        sys.stdout.flush()

    def wait(self, seconds: float) -> bool:
        """Wait; say whether ``q`` was pressed meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._keyboard is None:
                time.sleep(left)
            elif select.select([self._keyboard], [], [], left)[0]:
                pressed = os.read(self._keyboard, 64)
                if not pressed or b"q" in pressed.lower():
                    return True
        return False
