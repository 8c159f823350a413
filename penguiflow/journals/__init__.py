"""Journals: stores in which runs outlive their process, and how long they are kept there.

`MemoryJournal` is for tests, `SQLiteJournal` for one machine, `PostgresJournal` for several.
"""

from penguiflow.retention import Retention, retain

from .memory import MemoryJournal
from .postgres import PostgresJournal
from .sqlite import SQLiteJournal

__all__ = ["MemoryJournal", "PostgresJournal", "Retention", "SQLiteJournal", "retain"]
