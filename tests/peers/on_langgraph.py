"""How LangGraph is asked: custom streaming from a node, its retry policy, and edges from the start."""

from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy

VERSION = version("langgraph")


class State(TypedDict):
    """The state of the graphs; nothing is kept in it."""


async def stream(step: Callable[[], AsyncIterator[str]], attempts: int) -> AsyncIterator[str]:
    async def given(state: State) -> dict[str, Any]:
        write = get_stream_writer()
        async for item in step():
            write(item)
        return {}

    retry = RetryPolicy(max_attempts=attempts, initial_interval=0.01)
    graph = StateGraph(State).add_node("given", given, retry_policy=retry)
    graph = graph.add_edge(START, "given").add_edge("given", END)
    async for item in graph.compile().astream({}, stream_mode="custom"):
        yield item


async def branches(
    fast: Callable[[], Awaitable[None]],
    after_fast: Callable[[], Awaitable[None]],
    slow: Callable[[], Awaitable[None]],
) -> None:
    def node_of(work: Callable[[], Awaitable[None]]) -> Callable[[State], Awaitable[dict[str, Any]]]:
        async def given(state: State) -> dict[str, Any]:
            await work()
            return {}

        return given

    graph = StateGraph(State)
    for name, work in (("fast", fast), ("after_fast", after_fast), ("slow", slow)):
        graph.add_node(name, node_of(work))
    graph.add_edge(START, "fast").add_edge(START, "slow").add_edge("fast", "after_fast")
    await graph.compile().ainvoke({})
