"""Sealed records: what is kept of a run, as bytes that show whether they are whole.

Owns the format of a record. Invariant (rule 5.6): what `unseal` gives is what `seal` was given; a record that
is torn, changed or of another version is named, never guessed at. Knows not what records say.

A record is one byte of version, the CRC-32 of its place and of all behind it, the length of its JSON (both 4
bytes, big endian), the JSON, and behind that what is no JSON, back to back. Its place is not written: whoever
reads it says where he has found it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from .errors import JournalError

VERSION = 1
"""The format that is written; all up to it are read."""

_HEAD = struct.Struct(">BII")
_write = json.JSONEncoder(separators=(",", ":")).encode


class Blobs:
    """What of a record is no JSON: taken out in the order in which it was put in.

    Args:
        data: all of it, back to back.
        where: names the record.
    """

    __slots__ = ("_at", "_data", "_where")

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._where = where
        self._at = 0

    def take(self, size_bytes: int) -> bytes:
        """Give the next so many bytes."""
        end = self._at + size_bytes
        if end > len(self._data):
            raise JournalError(f"{self._where} is damaged: it says more than it holds")
        part, self._at = self._data[self._at : end], end
        return part

    def rest(self) -> bytes:
        """Give all that was not taken yet."""
        return self.take(len(self._data) - self._at)


def seal(body: dict[str, Any], blobs: Sequence[bytes] = (), place: str = "") -> bytes:
    """Write a record, to be found in a place."""
    try:
        text = to_json(body)
    except (PydanticSerializationError, UnicodeError):  # half of a pair of surrogates: only escapes hold it
        text = _write(body).encode("ascii")
    rest = b"".join((text, *blobs))
    length = len(text)
    return _HEAD.pack(VERSION, _check(rest, length, place), length) + rest


def _check(rest: bytes, length: int, place: str) -> int:
    return zlib.crc32(rest, zlib.crc32(place.encode("utf-8", "surrogatepass"), length))


def unseal(data: bytes, where: str, place: str = "") -> tuple[dict[str, Any], Blobs]:
    """Read a record that was found in a place; ``where`` names it in errors.

    Raises:
        JournalError: it is not whole, or of a newer version.
    """
    if len(data) < _HEAD.size:
        raise JournalError(
            f"{where} is torn: it has {len(data)} bytes, not even the {_HEAD.size} of its head"
        )
    version, check, length = _HEAD.unpack_from(data)
    if version > VERSION:
        raise JournalError(
            f"{where} was written by a newer PenguiFlow: its format is {version}, this one reads up to "
            f"{VERSION}. Upgrade before you open this journal"
        )
    rest = data[_HEAD.size :]
    if version < 1 or length > len(rest) or _check(rest, length, place) != check:
        raise JournalError(f"{where} is damaged: its checksum does not match, or it belongs elsewhere")
    text = rest[:length]
    try:
        body = from_json(text)
    except ValueError:  # the same
        body = json.loads(text)
    return body, Blobs(rest[length:], where)
