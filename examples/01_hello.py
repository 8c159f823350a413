"""The smallest flow: two nodes, joined by `>>`, called like a function.

    python examples/01_hello.py
    penguiflow run examples/01_hello.py:flow Ada

It prints::

    Hello, Ada!
"""

import anyio

from penguiflow import Flow, node


@node
async def greet(name: str) -> str:
    return f"Hello, {name}"


@node
def exclaim(text: str) -> str:  # no `async`: it runs on the edge, without a queue of its own
    return f"{text}!"


flow = Flow("hello", greet >> exclaim)


if __name__ == "__main__":
    print(anyio.run(flow.call, "Ada"))
