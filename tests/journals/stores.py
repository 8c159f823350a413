"""The stores that the tests are about, each made empty; PostgreSQL where a server is to be had.

The server is that of the environment variable ``PENGUIFLOW_TEST_POSTGRES``, or the one of this machine.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from penguiflow.journal import Journal
from penguiflow.journals import MemoryJournal, PostgresJournal, SQLiteJournal

SERVER = os.environ.get("PENGUIFLOW_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")

KINDS = ("memory", "sqlite", "postgres")


@dataclass
class Store:
    """A kind of store.

    Args:
        make: gives an empty one.
        reopen: gives another object for the same one, where it outlives its object.
    """

    make: Callable[[], Journal]
    reopen: Callable[[Any], Journal] | None


@functools.cache
def without_server() -> str:
    """Say why there is no PostgreSQL server, if so."""
    try:
        psycopg.connect(SERVER, connect_timeout=5).close()
    except psycopg.Error as error:
        return f"no PostgreSQL server: {' '.join(str(error).split())}"
    return ""


def need_server() -> None:
    """Skip the test where there is no server."""
    if without_server():
        pytest.skip(without_server())


def asked(statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the server something, past all journals."""
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


class Schemas:
    """Names of schemas for one test, dropped behind it."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._names: list[str] = []

    def new(self) -> str:
        """Give a name."""
        name = f"penguiflow_test_{os.getpid()}_{next(self._numbers)}"
        self._names.append(name)
        return name

    def drop(self) -> None:
        """Drop those that were made."""
        for name in self._names:
            asked(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def store_of(kind: str, folder: Path, schemas: Schemas) -> Store:
    """Give a store of a kind."""
    if kind == "memory":
        return Store(MemoryJournal, None)
    if kind == "sqlite":
        numbers = itertools.count(1)
        return Store(
            lambda: SQLiteJournal(folder / f"{next(numbers)}.db"), lambda journal: SQLiteJournal(journal.path)
        )
    need_server()
    return Store(
        lambda: PostgresJournal(SERVER, schema=schemas.new()),
        lambda journal: PostgresJournal(SERVER, schema=journal.schema),
    )
