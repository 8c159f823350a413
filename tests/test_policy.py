"""A policy that exists is valid; what makes no sense is said when it is made."""

from __future__ import annotations

from typing import Any

import pytest

from penguiflow.errors import GraphError
from penguiflow.policy import Retry, payload_size_bytes


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"attempts": 0}, "attempts"),
        ({"backoff": -1}, "backoff must be a number of seconds of at least 0"),
        ({"max_backoff": "1"}, "max_backoff"),
        ({"jitter": -0.1}, "jitter"),
        ({"budget": -1}, "budget"),
        ({"on": "ValueError"}, "on='ValueError'"),
        ({"on": int}, "on=<class 'int'>"),
        ({"on": (ValueError, 3)}, "on="),
    ],
)
def test_retries_that_make_no_sense(options: Any, text: str) -> None:
    """A retry is checked when it is made."""
    with pytest.raises(GraphError, match=text):
        Retry(**options)


def test_retries() -> None:
    """Classes, tuples and predicates say when to try again."""
    assert [Retry(on=on).on for on in (ValueError, (ValueError, KeyError))] == [
        ValueError,
        (ValueError, KeyError),
    ]
    assert callable(Retry(on=lambda error: True, budget=0, backoff=0).on)


def test_sizes() -> None:
    """Bytes by length, texts in UTF-8, all else as JSON; nothing is without a size (design, section 12)."""
    circular: list[Any] = []
    circular.append(circular)
    payloads = [
        b"abc",
        bytearray(2),
        memoryview(b"abcd"),
        "aé",
        {"a": 1},
        [1, 2],
        None,
        "",
        b"",
        {"a": b"\xff"},
    ]
    assert [payload_size_bytes(one) for one in payloads] == [3, 2, 4, 3, 7, 5, 4, 0, 0, 12]
    assert payload_size_bytes(circular) > 0
    assert payload_size_bytes("\ud800") == 3
    assert payload_size_bytes(object()) > 0
