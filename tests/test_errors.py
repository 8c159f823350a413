"""The tree of errors is the one that its docstring draws, and all of it is public."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

import penguiflow
from penguiflow import errors


def drawn() -> dict[str, str | None]:
    """Read the docstring's tree: each class with the one that it stands under."""
    above: list[str] = []
    tree: dict[str, str | None] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ((?:[│ ]   )*)(├── |└── )?([A-Z]\w+)(?:  |$)", line)
        if found is None:
            continue
        depth = len(found[1]) // 4 + bool(found[2])
        del above[depth:]
        tree[found[3]] = above[-1] if above else None
        above.append(found[3])
    return tree


def defined() -> dict[str, type]:
    """Give the classes of the module."""
    return {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }


def test_the_tree_is_as_drawn() -> None:
    """Each class stands under the one that the drawing says; none is missing, none too many."""
    bases = {name: kind.__bases__[0].__name__ for name, kind in defined().items()}
    assert {**bases, "FlowError": None} == drawn()


def test_the_second_parent() -> None:
    """Only an idle stream is two things: something wrong with a stream, and a step that took too long."""
    twofold = {name: kind.__bases__ for name, kind in defined().items() if len(kind.__bases__) > 1}
    assert twofold == {"StreamIdle": (errors.StreamError, errors.StepTimeout)}


def test_one_except_catches_all() -> None:
    """Everything that the package raises by itself is a `FlowError`; none hides a cancellation."""
    assert all(issubclass(kind, errors.FlowError) for kind in defined().values())
    assert errors.FlowError.__bases__ == (Exception,)


def test_all_errors_are_public() -> None:
    """The same class is importable from the package, and in ``__all__``."""
    assert {name: getattr(penguiflow, name) for name in defined()} == defined()
    assert set(defined()) - set(penguiflow.__all__) == set()


@pytest.mark.parametrize("kind", [errors.StepError, errors.StepTimeout, errors.StreamIdle])
def test_a_step_error_says_where(kind: type[errors.StepError]) -> None:
    """Run, node, stream, number and attempt are attributes; the text is the text."""
    error = kind("it broke", run_id="r", node="sub/a", stream_id="s", seq=0, attempt=2)
    assert (str(error), error.run_id, error.node, error.stream_id, error.seq, error.attempt) == (
        "it broke",
        "r",
        "sub/a",
        "s",
        0,
        2,
    )
    plain = kind("it broke")
    assert (plain.run_id, plain.node, plain.stream_id, plain.seq, plain.attempt) == ("", "", None, None, 1)


def test_an_error_survives_a_journey() -> None:
    """What was said and where is the same on the other side of a process border."""
    error = pickle.loads(pickle.dumps(errors.StepError("it broke", run_id="r", node="a", seq=3)))
    assert (type(error), str(error), error.run_id, error.node, error.seq, error.attempt) == (
        errors.StepError,
        "it broke",
        "r",
        "a",
        3,
        1,
    )


def test_every_error_says_what_it_is() -> None:
    """Each class has a docstring of its own."""
    assert [name for name, kind in defined().items() if not kind.__dict__.get("__doc__")] == []
