"""What fails, fails visibly: retries, timeouts, one error type, and an edge that handles it.

It prints::

    Oslo is sunny, at attempt 3
    StepTimeout in slow
    StepError in weigh, because of ZeroDivisionError
    instead: weigh can't do 0
"""

import anyio

from penguiflow import Context, Flow, Retry, StepError, StepTimeout, edge, node


@node(retry=Retry(attempts=3, on=(ConnectionError,), backoff=0.01))
async def forecast(city: str, ctx: Context) -> str:
    if ctx.attempt < 3:
        raise ConnectionError("the service is away")
    return f"{city} is sunny, at attempt {ctx.attempt}"


@node(timeout=0.02)
async def slow(city: str) -> str:
    await anyio.sleep_forever()
    return city


@node
async def weigh(parts: int) -> float:
    return 1 / parts


@node
async def instead(error: StepError) -> str:
    return f"instead: {error.node} can't do 0"


retried = Flow("retried", forecast)
timed = Flow("timed", slow)
flow = Flow("weighing", weigh)
handled = Flow("handled", weigh >> edge(on_error=True) >> instead)


async def main() -> None:
    print(await retried.call("Oslo"))
    try:
        await timed.call("Oslo")
    except StepTimeout as error:
        print("StepTimeout in", error.node)
    try:
        await flow.call(0)
    except StepError as error:
        print(f"StepError in {error.node}, because of {type(error.__cause__).__name__}")
    print(await handled.call(0))


if __name__ == "__main__":
    anyio.run(main)
