"""`penguiflow top`: the runtimes that write a trace store, as they are now.

Owns how often they are looked at. What is shown of them, `penguiflow.telemetry.views.board` knows.
"""

import sys
import time

from penguiflow.cli.screen import Screen, coloured, width
from penguiflow.telemetry.store.reading import StoreReader
from penguiflow.telemetry.views.board import board
from penguiflow.telemetry.views.wording import DIM, Paint, moment

PERIOD_SECONDS = 1.0


def show_top(store: StoreReader, *, once: bool = False) -> None:
    """Show who is at work: once, or where there is a terminal until Ctrl-C or q."""
    if once or not sys.stdout.isatty():
        print(_board(store, time.time()))
    else:
        _watch(store)


def _watch(store: StoreReader) -> None:
    """Draw the board again and again, until Ctrl-C or q."""
    try:
        with Screen() as screen:
            while True:
                screen.draw(_board(store, time.time()))
                if screen.wait(PERIOD_SECONDS):
                    return
    except KeyboardInterrupt:
        return


def _board(store: StoreReader, now: float) -> str:
    colour = coloured(sys.stdout)
    runtimes, paint = store.live(), Paint(colour)
    processes = len({one.pid for one in runtimes})
    head = f"penguiflow top · {store.path} · {moment(now)[11:-4]}"
    if not runtimes:
        return f"{paint(head, DIM)}\n\nno live process writes {store.path}"
    count = f"{processes} process{'es' if processes != 1 else ''}"
    return f"{paint(f'{head} · {count}', DIM)}\n\n{board(runtimes, width(), colour=colour)}"
