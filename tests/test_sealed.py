"""Records come back as they were written, and what is not whole is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow import JournalError
from penguiflow.sealed import VERSION, seal, unseal

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
json = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(st.dictionaries(st.text(), json), st.lists(st.binary()))
def test_what_is_sealed_comes_back(body: dict[str, Any], blobs: list[bytes]) -> None:
    """Any JSON, with half surrogates and huge numbers, and any bytes."""
    back, rest = unseal(seal(body, blobs), "it")
    assert back == body
    assert [rest.take(len(blob)) for blob in blobs] == blobs


def test_half_a_pair_of_surrogates_is_text() -> None:
    """A model may give it, and the journal is no place to lose it."""
    assert unseal(seal({"text": "\ud83d"}), "it")[0] == {"text": "\ud83d"}


@given(st.binary(max_size=40), st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_bit_is_found(blob: bytes, at: int, flip: int) -> None:
    """One byte that is not what it was, wherever, is never read as something else."""
    data = bytearray(seal({"key": "a", "payload": "text"}, [blob]))
    data[at % len(data)] ^= flip
    with pytest.raises(JournalError, match=r"it (is damaged|was written by a newer)"):
        unseal(bytes(data), "it")


@given(st.integers(0, 10_000))
def test_a_torn_record_is_found(at: int) -> None:
    """A record that was cut off, wherever, is named."""
    data = seal({"key": "a"}, [b"tail"])
    with pytest.raises(JournalError, match=r"record 7 of run r is (torn|damaged)"):
        unseal(data[: at % len(data)], "record 7 of run r")


def test_a_newer_record_is_named() -> None:
    """Who opens a newer journal is told to upgrade."""
    data = bytes([VERSION + 1]) + seal({})[1:]
    with pytest.raises(JournalError, match=f"newer PenguiFlow: its format is {VERSION + 1}.*Upgrade"):
        unseal(data, "it")


def test_a_record_that_says_more_than_it_holds_is_damaged() -> None:
    """Also where the checksum fits: somebody wrote it so."""
    _, blobs = unseal(seal({}, [b"ab"]), "it")
    with pytest.raises(JournalError, match="says more than it holds"):
        blobs.take(3)
