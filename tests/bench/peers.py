"""The other frameworks that rows are compared with, all optional (the extra ``bench``).

Owns their imports and the shortest idiomatic form of each. Invariant: a peer that is missing raises
`PeerMissing`, which skips its row and fails nothing. Knows nothing of penguiflow.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, TypedDict

from .measure import PeerMissing


class State(TypedDict):
    """The state of the LangGraph graphs."""

    x: int


def load(module: str) -> Any:
    """Import a peer's module; its own warnings are not our business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module)
        except ImportError as error:
            raise PeerMissing(module.partition(".")[0]) from error


def langgraph() -> Any:
    """Import ``langgraph.graph``, with its tracing service off."""
    os.environ.setdefault("LANGSMITH_TRACING", "false")
    return load("langgraph.graph")


def langgraph_chain(nodes: int, checkpointer: Any = None) -> Any:
    """Build a compiled LangGraph of ``nodes`` async pass-through nodes in a row."""
    graph = langgraph()

    async def same(state: State) -> State:
        return {"x": state["x"]}

    builder = graph.StateGraph(State)
    names = [f"hop{number}" for number in range(1, nodes + 1)]
    for name in names:
        builder.add_node(name, same)
    for left, right in zip([graph.START, *names], [*names, graph.END], strict=True):
        builder.add_edge(left, right)
    return builder.compile(checkpointer=checkpointer)


def langgraph_stream() -> Any:
    """Build a compiled LangGraph of one node that writes ``x`` numbers to its custom stream."""
    graph = langgraph()
    get_stream_writer = load("langgraph.config").get_stream_writer

    async def numbers(state: State) -> State:
        write = get_stream_writer()
        for number in range(state["x"]):
            write(number)
        return state

    builder = graph.StateGraph(State)
    builder.add_node("numbers", numbers)
    builder.add_edge(graph.START, "numbers")
    builder.add_edge("numbers", graph.END)
    return builder.compile()


@asynccontextmanager
async def langgraph_durable(nodes: int, path: Path) -> AsyncIterator[Any]:
    """Give a compiled LangGraph of pass-through nodes in a row that keeps each step in an SQLite file.

    If cancelled, the file is closed.
    """
    saver = load("langgraph.checkpoint.sqlite.aio").AsyncSqliteSaver
    async with saver.from_conn_string(str(path)) as checkpointer:
        yield langgraph_chain(nodes, checkpointer)


async def read_langgraph(graph: Any, count: int) -> float:
    """Seconds to read a LangGraph's custom stream to its end. If cancelled, the graph is cancelled."""
    started = perf_counter()
    received = 0
    async for _ in graph.astream({"x": count}, stream_mode="custom"):
        received += 1
    took = perf_counter() - started
    if received != count:
        raise AssertionError(f"LangGraph gave {received} items of {count}")
    return took


def uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Give what makes a uvloop event loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] = load("uvloop").new_event_loop
    return factory
