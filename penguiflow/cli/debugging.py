"""`penguiflow replay --pdb`: the debugger in the function of one step.

Owns how pdb gets there: at the first line of the function, on the event loop's thread or on that of a node
with ``thread=True``, and behind the function where that raises. While somebody looks, the step has no
timeout.
"""

import bdb
import functools
import inspect
import pdb  # noqa: T100 — it is what is asked for
import signal
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from penguiflow.durable_steps import Call
from penguiflow.history import StepId
from penguiflow.replaying import id_of
from penguiflow.step import Step

SKIPPED = ["penguiflow.*", "anyio.*", "asyncio.*", "trio.*", "tenacity.*", "contextlib", "contextvars"]
"""Where stepping on does not stop: what calls the function."""


class Debugger:
    """Enters pdb in a step, once.

    Args:
        which: the step.
    """

    def __init__(self, which: StepId) -> None:
        self._which = which
        self.entered = False
        self.left = False  # by `quit`: nothing more is wanted
        self.problem = ""

    def around(self, call: Call, step: Step) -> Call:
        """Give what calls a step; see `penguiflow.replaying.Around`."""
        if self.entered or id_of(step) != self._which:
            return call
        self.entered = True
        code = code_of(step.station.function)
        if code is None:
            self.problem = f"node {step.station.site.key} has no Python code for the debugger to stop in"
            return call
        step.clock = None
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the event loop's would not reach pdb
        self._trap(step, code)
        return functools.partial(self._watched, call)

    def _trap(self, step: Step, code: CodeType) -> None:
        """Let the next call of the node's function, which is that of the step, begin with the debugger."""
        station = step.station
        function = station.function

        def trapped(*args: Any, **kwargs: Any) -> Any:
            station.function = function
            sys.settrace(tracer_of(code))
            return function(*args, **kwargs)

        station.function = trapped

    async def _watched(self, call: Call, step: Step) -> Any:
        try:
            return await call(step)
        except bdb.BdbQuit:
            self.left = True
            raise
        except Exception as error:
            if isinstance(error.__cause__, bdb.BdbQuit):
                self.left = True
                raise
            print(f"{type(error).__name__}: {error}")
            try:
                pdb.post_mortem(error.__traceback__)
            except bdb.BdbQuit:
                self.left = True
            raise
        finally:
            sys.settrace(None)


def tracer_of(code: CodeType) -> Callable[[FrameType, str, Any], Any]:
    """Give a trace function that turns into pdb's when some code begins to run."""
    debugger = pdb.Pdb(skip=SKIPPED)

    def tracer(frame: FrameType, event: str, arg: Any) -> Any:
        if event != "call" or frame.f_code is not code:
            return None
        debugger.reset()
        debugger.set_step()
        sys.settrace(debugger.trace_dispatch)
        return debugger.trace_dispatch(frame, event, arg)

    return tracer


def code_of(function: Any) -> CodeType | None:
    """Give the code behind a function, whatever is wrapped around it; ``None`` where it is not Python."""
    while True:
        inner = inspect.unwrap(function)
        inner = inner.func if isinstance(inner, functools.partial) else inner
        inner = getattr(inner, "__func__", inner)
        if inner is function:
            break
        function = inner
    if not hasattr(function, "__code__") and not isinstance(function, type):
        function = getattr(type(function).__call__, "__func__", type(function).__call__)
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None
