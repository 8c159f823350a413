"""Hints: the parameters of a function and what their annotations mean.

Owns the resolution of annotations, also of those written as strings for types that are local to a function.
Invariant: only what is asked for is resolved, so that a parameter which is the function's own business may be
annotated with anything. Knows nothing of what nodes make of it.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from .errors import GraphError

EMPTY = inspect.Parameter.empty


class UnknownName(GraphError):
    """An annotation names what is not known, or not yet."""


def innermost(fn: Any) -> Any:
    """Give the function itself that partials, methods and callable objects end in."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif inspect.ismethod(fn):
            fn = fn.__func__
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        elif _is_callable_object(fn):
            fn = type(fn).__call__
        else:
            return fn


def outermost(fn: Any) -> Any:
    """Give the function whose form says what a call gives; plain wrappers are looked through."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif inspect.ismethod(fn):
            fn = fn.__func__
        elif hasattr(fn, "__wrapped__") and not _has_form(fn):
            fn = fn.__wrapped__
        elif _is_callable_object(fn):
            fn = type(fn).__call__
        else:
            return fn


def _has_form(fn: Any) -> bool:
    return (
        inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn)
    )


def _is_callable_object(fn: Any) -> bool:
    """Say whether it is an object of a class of Python's own writing that can be called."""
    if isinstance(fn, type) or inspect.isroutine(fn):
        return False
    return inspect.isfunction(inspect.unwrap(type(fn).__call__))


def by_name(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Give a function that takes its item in the first place and by name, whatever ``fn`` allows."""
    try:
        kind = inspect.signature(fn).parameters[name].kind
    except (ValueError, TypeError, KeyError):
        kind = inspect.Parameter.POSITIONAL_ONLY
    if kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return fn
    if kind is inspect.Parameter.KEYWORD_ONLY:
        return lambda *items, **given: fn(**dict.fromkeys((name,) if items else (), *items), **given)
    return lambda *items, **given: fn(*(items or (given.pop(name),)), **given)


class Hints:
    """The parameters and annotations of one function.

    Args:
        fn: what a node calls.
        who: how error texts call it.
    """

    def __init__(self, fn: Callable[..., Any], who: str) -> None:
        self.who = who
        self.function: Any = innermost(fn)
        self.is_partial: bool = isinstance(fn, functools.partial)  # it makes what it leaves open keyword-only
        self.parameters: dict[str, inspect.Parameter] = {}
        self.returns: Any = fn if isinstance(fn, type) else EMPTY
        try:
            signature = inspect.signature(fn)
        except NameError as error:  # Python 3.14 evaluates annotations when they are asked for
            raise self.unresolved("its annotations", error) from error
        except (ValueError, TypeError):  # some builtins and classes written in C do not tell
            parameter = inspect.Parameter("value", inspect.Parameter.POSITIONAL_ONLY)
            self.parameters = {"value": parameter}
            return
        self.parameters = dict(signature.parameters)
        if not isinstance(fn, type):
            self.returns = signature.return_annotation
        # the stack is looked at now: names that are local to whoever defines the node are known only here
        self._locals = dict(self._around())

    def parameter(self, name: str) -> Any:
        """Resolve the annotation of a parameter; `EMPTY` where there is none."""
        return self._resolve(self.parameters[name].annotation, f"the annotation of {name!r}")

    def result(self) -> Any:
        """Resolve the annotation of the result; `EMPTY` where there is none."""
        return self._resolve(self.returns, "the annotation of its result")

    def _resolve(self, annotation: Any, what: str) -> Any:
        if annotation is EMPTY or isinstance(annotation, type):
            return annotation
        holder = types.SimpleNamespace(__annotations__={"it": annotation})
        known = getattr(self.function, "__globals__", None) or vars(
            sys.modules.get(getattr(self.function, "__module__", None) or "", typing)
        )
        try:
            return typing.get_type_hints(holder, dict(known), self._locals, include_extras=True)["it"]
        except Exception as error:  # annotations are the user's code: anything may come out of them
            raise self.unresolved(what, error, annotation) from error

    def unresolved(self, what: str, error: BaseException, annotation: Any = "") -> GraphError:
        """Make the error for an annotation that can't be resolved."""
        shown = f" ({annotation})" if annotation else ""
        kind = UnknownName if isinstance(error, NameError) else GraphError
        return kind(
            f"{self.who}: {what}{shown} can't be resolved: {type(error).__name__}: {error}; import or define "
            "what it "
            "names where it can be found at run time (not only under TYPE_CHECKING), or take the annotation "
            "away"
        )

    def _around(self) -> Iterator[tuple[str, Any]]:
        """Give the names around the function: of those that define it (outermost first), then its own."""
        code = getattr(self.function, "__code__", None)
        scopes: list[dict[str, Any]] = []
        frame = sys._getframe(1)
        while frame is not None and code is not None:
            here = frame.f_code
            if here.co_name != "<module>" and any(constant is code for constant in here.co_consts):
                scopes.append(frame.f_locals)
                code = here
            frame = frame.f_back  # type: ignore[assignment]
        for scope in reversed(scopes):
            yield from scope.items()
        closure = getattr(self.function, "__closure__", None) or ()
        names = getattr(getattr(self.function, "__code__", None), "co_freevars", ())
        for name, cell in zip(names, closure, strict=False):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not bound yet
                continue
        for parameter in getattr(self.function, "__type_params__", ()):
            yield parameter.__name__, parameter
