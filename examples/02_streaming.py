"""A node that yields gives a stream; each chunk is numbered and passes on as soon as it is there.

Nodes behind it that take one `str` work chunk by chunk; a node that takes `Stream[str]` gets the stream as a
whole. Leaving the run early, as here after the third chunk, ends the writer first.

It prints::

    0 ONCE
    1 UPON
    2 A
    the writer has ended
    the writer has ended
    6 words
"""

from collections.abc import AsyncIterator

import anyio

from penguiflow import Chunk, Flow, Stream, node

STORY = "once upon a time it snowed"


@node
async def tell(story: str) -> AsyncIterator[str]:
    try:
        for word in story.split():
            yield word
            await anyio.sleep(0.01)  # a model takes its time
    finally:
        print("the writer has ended")


@node
def upper(word: str) -> str:
    return word.upper()


@node
async def count(words: Stream[str]) -> str:
    return f"{len([word async for word in words])} words"


flow = Flow("story", tell >> upper)
counted = Flow("counted", tell >> upper >> count)


async def main() -> None:
    async with flow.open() as runtime, runtime.run(STORY) as run:
        async for item in run:
            assert isinstance(item, Chunk)
            print(item.seq, item.payload)
            if item.seq == 2:
                break
    print(await counted.call(STORY))


if __name__ == "__main__":
    anyio.run(main)
