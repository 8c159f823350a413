"""Sequence: the numbers of a stream's chunks.

Owns rule 1.4. Invariant: the numbers of a stream only grow; a number that was skipped is a gap, and counted.
"""

from __future__ import annotations


def skipped(next_seq: int, seq: int) -> int:
    """Say how many numbers an explicit ``seq`` skips; ``ValueError`` where it is lower than the next one."""
    if seq < next_seq:
        raise ValueError(f"rule 1.4: seq {seq} is lower than the next one, {next_seq}")
    return seq - next_seq
