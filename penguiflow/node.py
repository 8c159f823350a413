"""Nodes: functions with a name and a policy.

Owns `node` and `source`, which make them. Invariant: a `Node` is immutable and valid by itself, and holds no
state of any flow, so that many flows may share it; it stays callable as the function it was. Knows nothing of
graphs.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Generic, ParamSpec, TypeVar, overload

from .errors import GraphError
from .hints import UnknownName, by_name
from .kinds import members
from .policy import DEFAULT_CONCURRENCY, DEFAULT_MAX_PARTS, Delivery, NodePolicy, Resume, Retry
from .signature import Gives, Signature, Slot, Takes, read_signature
from .wiring import Wirable

__all__ = ["AnyNode", "Gives", "Node", "Signature", "Slot", "Takes", "node", "source"]

P = ParamSpec("P")
R = TypeVar("R")


class _Default(int):
    """A default that can be told from the same number given."""


_CONCURRENCY = _Default(DEFAULT_CONCURRENCY)


class Node(Wirable, Generic[P, R]):
    """A function as a part of flows; made by `node` and `source`.

    Calling it calls the function.
    """

    fn: Callable[P, R]
    name: str
    policy: NodePolicy
    is_source: bool
    _signature: Signature | None

    def __init__(self, fn: Callable[P, R], name: str, policy: NodePolicy, is_source: bool) -> None:
        shown = (*functools.WRAPPER_ASSIGNMENTS, "__type_params__")
        self.__dict__.update({word: getattr(fn, word) for word in shown if hasattr(fn, word)}, __wrapped__=fn)
        self.__dict__.update(fn=fn, name=name, policy=policy, is_source=is_source, _signature=None)
        with suppress(UnknownName):  # it may be defined further down: then it is known when a flow is built
            self._read()

    @property
    def signature(self) -> Signature:
        """What it takes and gives.

        Raises:
            GraphError: an annotation names what is still not known.
        """
        return self._signature or self._read()

    def _read(self) -> Signature:
        who = f"{'source' if self.is_source else 'node'} {self.name!r}"
        signature = read_signature(self.fn, who, is_source=self.is_source)
        if self.is_source and signature.gives is not Gives.STREAM:
            raise GraphError(f"{who}: a source must be an async generator; write: async def … yield")
        _check_form(signature, self.policy, who)
        policy = replace(self.policy, concurrency=int(self.policy.concurrency))
        fn = self.fn if signature.parameter is None else by_name(self.fn, signature.parameter)
        self.__dict__.update(_signature=signature, policy=policy, fn=fn)
        return signature

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.fn(*args, **kwargs)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self!r} can't be changed; make another one with node(fn, …)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self!r} can't be changed; make another one with node(fn, …)")

    def __repr__(self) -> str:
        return f"<{'source' if self.is_source else 'node'} {self.name}>"


AnyNode = Node[..., Any]


@overload
def node(
    fn: Callable[P, R],
    /,
    *,
    name: str | None = None,
    concurrency: int = ...,
    timeout: float | None = None,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    retry: Retry | None = None,
    ordered: bool = True,
    thread: bool = False,
    max_parts: int = DEFAULT_MAX_PARTS,
    durable: bool = True,
    resume: Resume = Resume.RESTART,
    delivery: Delivery = Delivery.AT_LEAST_ONCE,
) -> Node[P, R]: ...


@overload
def node(
    fn: None = None,
    /,
    *,
    name: str | None = None,
    concurrency: int = ...,
    timeout: float | None = None,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    retry: Retry | None = None,
    ordered: bool = True,
    thread: bool = False,
    max_parts: int = DEFAULT_MAX_PARTS,
    durable: bool = True,
    resume: Resume = Resume.RESTART,
    delivery: Delivery = Delivery.AT_LEAST_ONCE,
) -> Callable[[Callable[P, R]], Node[P, R]]: ...


def node(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    concurrency: int = _CONCURRENCY,
    timeout: float | None = None,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    retry: Retry | None = None,
    ordered: bool = True,
    thread: bool = False,
    max_parts: int = DEFAULT_MAX_PARTS,
    durable: bool = True,
    resume: Resume = Resume.RESTART,
    delivery: Delivery = Delivery.AT_LEAST_ONCE,
) -> Any:
    """Make a function a node: ``@node``, ``@node(...)`` or ``node(fn, ...)``.

    What it takes is told by its annotations, what it gives by its form (``return`` or ``yield``). A plain
    ``def`` runs on the edge and has no concurrency, timeout or retry, unless it is given a thread.

    Args:
        fn: the function; any callable that can be told what it takes.
        name: how the flow calls it; the function's own name by default.
        concurrency: how many of its steps may work at a time, over all runs; 16 by default.
        timeout: seconds that an attempt may work; waiting for credit, input or a place does not count.
        first_chunk_timeout: seconds until the first chunk that an attempt gives.
        idle_timeout: seconds between two chunks that an attempt gives.
        retry: whether and how failed attempts are repeated.
        ordered: ``False`` lets chunks of one stream be worked on side by side, in order of completion.
        thread: run a plain ``def`` in a thread, off the event loop.
        max_parts: how many parts a node that takes ``Gathered`` takes over at most.
        durable: ``False`` keeps the node's steps out of the runtime's journal, if there is one: they are
            executed again when the run is taken up. What leaves the flow is written all the same.
        resume: what happens to a stream that was cut off by the end of its process: it begins again, or, with
            ``Resume.CONTINUE``, goes on behind what is out, which the node must give again as it was.
        delivery: how often what the node does outside is done, if there is a journal: a crash may lose it,
            may repeat it, or may repeat it in a way that the outside can tell.

    Raises:
        GraphError: the function or an option can't be carried out; the text says what to change.
    """
    policy = NodePolicy(
        concurrency,
        timeout,
        first_chunk_timeout,
        idle_timeout,
        retry,
        ordered,
        thread,
        max_parts,
        durable,
        resume,
        delivery,
    )
    if fn is None:
        return lambda function: _make(function, name, policy, is_source=False)
    return _make(fn, name, policy, is_source=False)


@overload
def source(
    fn: Callable[P, AsyncIterator[R]],
    /,
    *,
    name: str | None = None,
    timeout: float | None = None,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    retry: Retry | None = None,
) -> Node[P, AsyncIterator[R]]: ...


@overload
def source(
    fn: None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | None = None,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    retry: Retry | None = None,
) -> Callable[[Callable[P, AsyncIterator[R]]], Node[P, AsyncIterator[R]]]: ...


def source(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | None = None,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    retry: Retry | None = None,
) -> Any:
    """Make an async generator without parameters a source: it starts with the runtime, as a run of its own.

    The options mean what they mean for `node`.

    Raises:
        GraphError: the function or an option can't be carried out; the text says what to change.
    """
    policy = NodePolicy(
        _CONCURRENCY, timeout, first_chunk_timeout, idle_timeout, retry, True, False, DEFAULT_MAX_PARTS
    )
    if fn is None:
        return lambda function: _make(function, name, policy, is_source=True)
    return _make(fn, name, policy, is_source=True)


def _make(fn: Any, name: str | None, policy: NodePolicy, *, is_source: bool) -> AnyNode:
    if isinstance(fn, Node):
        raise GraphError(f"{fn!r} is a node already; node({fn.name}.fn, …) makes another one of its function")
    if not callable(fn):
        raise GraphError(f"{fn!r} is no function, and can't be a node; its options are given by name")
    name = _name(fn, name)
    who = f"{'source' if is_source else 'node'} {name!r}"
    policy.check(who)
    _check_method(fn, name, who)
    return Node(fn, name, policy, is_source)


def _name(fn: Any, name: str | None) -> str:
    if name is None:
        inner: Any = fn
        while isinstance(inner, functools.partial):
            inner = inner.func
        name = getattr(inner, "__name__", None) or type(inner).__name__
        if name == "<lambda>":
            raise GraphError("a lambda has no name; write: node(lambda …, name=…)")
    if not isinstance(name, str) or not name:
        raise GraphError(f"node: name={name!r} must be a text that is not empty")
    return name


def _check_method(fn: Any, name: str, who: str) -> None:
    """Refuse methods that are not bound: their ``self`` would be taken for an input."""
    code = getattr(fn, "__code__", None)
    owner = getattr(fn, "__qualname__", "").rpartition(".")[0]
    if code is None or not owner or owner.endswith("<locals>") or hasattr(fn, "__self__"):
        return
    if code.co_varnames[: code.co_argcount][:1] in (("self",), ("cls",)):
        raise GraphError(f"{who}: a method needs its object; write: node(thing.{name})")


def _check_delivery(signature: Signature, policy: NodePolicy, who: str) -> None:
    if not policy.durable:
        asked = [f"delivery={policy.delivery}"] if policy.delivery is not Delivery.AT_LEAST_ONCE else []
        asked += [f"resume={policy.resume}"] if policy.resume is not Resume.RESTART else []
        if asked:
            raise GraphError(
                f"{who}: {' and '.join(asked)} needs the journal to know its steps; leave out durable=False"
            )
    gives_nothing = all(kind is Any or kind is type(None) for kind in members(signature.result))
    if policy.delivery is Delivery.AT_MOST_ONCE and not (signature.gives is Gives.VALUE and gives_nothing):
        raise GraphError(
            f"{who}: delivery=Delivery.AT_MOST_ONCE settles a step before it is executed, so it can give "
            "nothing; let it return None"
        )
    if policy.delivery is Delivery.AT_MOST_ONCE and policy.retry is not None:
        raise GraphError(f"{who}: delivery=Delivery.AT_MOST_ONCE and a retry contradict each other")
    if policy.delivery is Delivery.EFFECTIVELY_ONCE and signature.context is None:
        raise GraphError(
            f"{who}: delivery=Delivery.EFFECTIVELY_ONCE needs a parameter ctx: Context, for ctx.key, by "
            "which the outside tells repetitions, or ctx.also, which writes in the journal's transaction"
        )


def _check_form(signature: Signature, policy: NodePolicy, who: str) -> None:
    """Refuse options that the form of the function can't keep."""
    _check_delivery(signature, policy, who)
    if policy.thread and signature.is_async:
        raise GraphError(f"{who}: thread=True is for plain def; an async def works on the loop")
    if signature.is_async or policy.thread:
        return
    given = [
        option
        for option in ("timeout", "first_chunk_timeout", "idle_timeout", "retry")
        if getattr(policy, option) is not None
    ]
    if not isinstance(policy.concurrency, _Default):
        given.insert(0, "concurrency")
    if given:
        raise GraphError(
            f"{who}: a plain def runs on the edge and can't have {', '.join(given)}; write async def, or "
            "thread=True"
        )
