"""Completion: how many things can still feed a place.

Owns one idea: a counter whose zero means "nothing more can come". Invariant: a token that has reached zero is
never held again. Join slots and the parts of a gather are decided by it; knows nothing of either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Place(Protocol):
    """Something that can be fed, and wants to know when it can't be any more."""

    def exhausted(self, token: Token) -> None:
        """Take note that nothing holds the token any more."""


class Token:
    """How many things in flight can still feed one place.

    Args:
        place: who is told when the count is zero.
        key: the site of the place and its slot (-1: a gather), as edges list them in ``reach``.
        slot: which slot or part of the place it stands for.
    """

    __slots__ = ("count", "key", "place", "slot")

    def __init__(self, place: Place, key: tuple[int, int], slot: int) -> None:
        self.place: Place = place
        self.key: tuple[int, int] = key
        self.slot: int = slot
        self.count: int = 1

    def __repr__(self) -> str:
        return f"<token {self.key}:{self.slot} held {self.count}×>"


Tokens = tuple[Token, ...]


def hold(tokens: Tokens) -> Tokens:
    """Count one more holder of each token."""
    for token in tokens:
        token.count += 1
    return tokens


def release(tokens: Tokens) -> None:
    """Count one holder less of each token; places whose count is zero are told."""
    for token in tokens:
        token.count -= 1
        if token.count == 0:
            token.place.exhausted(token)


def reaching(tokens: Tokens, reach: frozenset[tuple[int, int]]) -> Tokens:
    """Pick the tokens whose places can be reached."""
    return tuple(token for token in tokens if token.key in reach)


def union(many: Iterable[Tokens]) -> Tokens:
    """Put the tokens of several holders together."""
    return tuple(token for tokens in many for token in tokens)
