"""Questions: how they are asked, and how they and their answers are written down.

Owns the forms of both. Invariant: a question is JSON; an answer is JSON or bytes, and as a node gets it of
the type that it expects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from .kept import NOTHING
from .payloads import is_plain

if TYPE_CHECKING:
    from .step import Step


@dataclass(slots=True)
class Asking:
    """How a question is asked.

    Args:
        expect: the type of the answer; anything, where it is ``None``.
        timeout: for how many seconds an answer is waited for.
        default: the answer where none comes in time.
    """

    expect: Any
    timeout: float | None
    default: Any

    def __post_init__(self) -> None:
        """Refuse a default that is no answer."""
        if self.default is NOTHING:
            return
        if self.timeout is None:
            raise TypeError("ctx.interrupt(default=…): it is the answer where none comes within timeout=…")
        try:
            expected(shown_value(self.default), self.expect)
        except ValidationError as exc:
            raise TypeError(
                f"ctx.interrupt(default={self.default!r}): it is not what is expected: {exc}"
            ) from exc


def shown_question(step: Step, question: Any) -> Any:
    """Give a question as JSON.

    Raises:
        TypeError: it can't be shown.
    """
    try:
        return to_jsonable_python(question)
    except (PydanticSerializationError, ValueError) as exc:
        raise TypeError(f"{step.station.site.key}: a question must be JSON, or a model of it: {exc}") from exc


def shown_value(value: Any) -> Any:
    """Give an answer as it is kept: JSON, or bytes.

    Raises:
        TypeError: it can't be kept.
    """
    if isinstance(value, bytes) or is_plain(value):
        return value
    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError) as exc:
        raise TypeError(f"an answer must be bytes, JSON or a model of it: {exc}") from exc


def expected(answer: Any, kind: Any) -> Any:
    """Give an answer as the type that is expected."""
    return answer if kind is None else TypeAdapter(kind).validate_python(answer)
