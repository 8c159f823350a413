"""The numbers of a stream only grow (rule 1.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow.sequence import skipped


@given(next_seq=st.integers(0, 1000), ahead=st.integers(0, 1000))
def test_what_is_skipped_is_counted(next_seq: int, ahead: int) -> None:
    """A number that is higher than the next one leaves a gap of that many."""
    assert skipped(next_seq, next_seq + ahead) == ahead


@given(next_seq=st.integers(0, 1000), behind=st.integers(1, 1000))
def test_a_lower_number_is_refused(next_seq: int, behind: int) -> None:
    """The error names the rule and both numbers."""
    with pytest.raises(ValueError, match=r"^rule 1\.4: seq ") as caught:
        skipped(next_seq, next_seq - behind)
    assert str(caught.value) == (f"rule 1.4: seq {next_seq - behind} is lower than the next one, {next_seq}")


@given(seqs=st.lists(st.integers(0, 20), max_size=20))
def test_a_stream_of_explicit_numbers(seqs: list[int]) -> None:
    """Numbers that are accepted one after the other grow, and with the gaps they make up what was counted."""
    next_seq, accepted, gaps = 0, [], 0
    for seq in seqs:
        try:
            gaps += skipped(next_seq, seq)
        except ValueError:
            assert seq < next_seq
            continue
        accepted.append(seq)
        next_seq = seq + 1
    assert accepted == sorted(set(accepted))
    assert len(accepted) + gaps == next_seq
