"""A fast producer and a slow consumer: wait for it, or drop what is too old.

Waiting is the default: the producer stands still when its window is spent, so memory is bounded and nothing
is lost. An edge with `overflow="drop_oldest"` keeps the newest instead, and every drop is reported.

It prints::

    wait: 30 of 30 shown, producer at most 4 ahead: True
    drop: the newest was shown: True, shown + dropped = 30
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio

from penguiflow import Flow, edge, node


@dataclass
class Camera:
    """Takes pictures, and knows how far it is ahead of the screen."""

    pictures: int
    taken: int = 0
    shown: int = 0
    furthest_ahead: int = 0


@node
async def film(camera: Camera) -> AsyncIterator[tuple[Camera, int]]:
    for number in range(camera.pictures):
        camera.taken += 1
        camera.furthest_ahead = max(camera.furthest_ahead, camera.taken - camera.shown)
        yield camera, number
        await anyio.sleep(0.0001)


@node
async def screen(picture: tuple[Camera, int]) -> int:
    await anyio.sleep(0.002)
    picture[0].shown += 1
    return picture[1]


waiting = Flow("waiting", film >> screen)
dropping = Flow("dropping", film >> edge(capacity=2, overflow="drop_oldest") >> screen)


async def main() -> None:
    camera = Camera(pictures=30)
    async with waiting.open(window=4) as runtime:
        shown = await runtime.call(camera)
    # One more than the window may be in the producer's hand.
    print(f"wait: {len(shown)} of 30 shown, producer at most 4 ahead: {camera.furthest_ahead <= 5}")

    async with dropping.open() as runtime, runtime.run(Camera(pictures=30)) as run:
        shown = [item.payload async for item in run]
        lost = run.statistics().dropped
    print(f"drop: the newest was shown: {shown[-1] == 29}, shown + dropped = {len(shown) + lost}")


if __name__ == "__main__":
    anyio.run(main)
