"""Figures that need a fresh interpreter, and how they come back.

Invariant: a child that fails takes its row with it, with its last words in the error.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

ROOT = Path(__file__).resolve().parents[2]


def apart(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a fresh interpreter, and give what it gave."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(call, *args, **kwargs).result()


def figure(*arguments: str) -> float:
    """Run the interpreter with arguments in the project's folder and give the number it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if child.returncode:
        last_words = (child.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"a child ended with status {child.returncode}: {last_words}")
    return float(child.stdout)
