"""Standard input and output without holding up the event loop, and the line that shows progress.

A terminal, a pipe to a slow reader, a keyboard: each may keep a write or a read waiting for as long as it
likes. Here that wait is a wait like any other: the flow goes on until its credit is spent, its timeouts
stand still, and Ctrl-C is heard. Knows nothing of flows.
"""

import os
import select
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import anyio

from penguiflow.cli.errors import CommandError

PIECE_BYTES = getattr(select, "PIPE_BUF", 512)
"""What a pipe that says it is ready takes without waiting."""


class Output:
    """Write text to a stream; wait where the one at its other end is slow."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._fd = _descriptor(stream)

    async def write(self, text: str) -> None:
        """Write all of the text. If cancelled, a part of it may have been written."""
        if self._fd is None:
            self._stream.write(text)
            return
        data = text.encode(self._stream.encoding or "utf-8", errors="backslashreplace")
        while data:
            if not _ready(self._fd, writing=True):
                await anyio.wait_writable(self._fd)
            data = data[os.write(self._fd, data[:PIECE_BYTES]) :]


def read_all() -> bytes:
    """Read standard input to its end, at once; nothing else runs yet.

    Raises:
        CommandError: it is closed, or can't be read.
    """
    with _readable_input() as stdin:
        return stdin.buffer.read()


async def read_lines() -> AsyncIterator[bytes]:
    """Give the lines of standard input as they come in. If cancelled, no whole line was taken.

    Raises:
        CommandError: it is closed, or can't be read.
    """
    rest = b""
    while data := await _read_some():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest


class Progress:
    """One line on the terminal that says what is at work while nothing else is to be seen.

    Args:
        describe: gives the line.
        may_show: whether the cursor stands where a line may be drawn.
    """

    PATIENCE = 1.0
    """Seconds without output after which the line appears."""
    PERIOD = 0.25
    """Seconds between two drawings of it."""

    def __init__(self, describe: Callable[[], str], may_show: Callable[[], bool]) -> None:
        self._describe = describe
        self._may_show = may_show
        self._quiet_since = 0.0
        self._shown = False

    async def keep_shown(self) -> None:
        """Draw the line again and again; return at once where standard error is no terminal."""
        if not sys.stderr.isatty():
            return
        started = self._quiet_since = anyio.current_time()
        try:
            while True:
                await anyio.sleep(self.PERIOD)
                now = anyio.current_time()
                if now - self._quiet_since >= self.PATIENCE and self._may_show():
                    self._draw(f"{now - started:.1f} s · {self._describe()}")
        finally:
            self.clear()

    def clear(self) -> None:
        """Take the line away, because something else is about to be written."""
        if not sys.stderr.isatty():
            return
        self._quiet_since = anyio.current_time()
        if self._shown:
            self._shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _draw(self, text: str) -> None:
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        self._shown = True
        sys.stderr.write(f"\r\x1b[K\x1b[2m{text[: width - 1]}\x1b[0m")
        sys.stderr.flush()


@contextmanager
def _readable_input() -> Iterator[TextIO]:
    """Give standard input, and say in words that it is closed or that reading it fails."""
    if sys.stdin is None:
        raise CommandError("there is no input: standard input is closed")
    try:
        yield sys.stdin
    except OSError as error:
        raise CommandError(f"standard input can't be read: {error.strerror}") from error


async def _read_some() -> bytes:
    """Read what is there of standard input; empty at its end. If cancelled, nothing was taken."""
    with _readable_input() as stdin:
        fd = stdin.fileno()
        if not _ready(fd, writing=False):
            await anyio.wait_readable(fd)
        return os.read(fd, 65536)


def _ready(fd: int, *, writing: bool) -> bool:
    try:
        if writing:
            return bool(select.select([], [fd], [], 0)[1])
        return bool(select.select([fd], [], [], 0)[0])
    except OSError:  # Windows selects sockets only: there the call itself waits
        return True


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except OSError:
        return None
