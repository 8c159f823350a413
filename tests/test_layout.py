"""Boxes of a drawing stand apart, in order, and within what holds them."""

from __future__ import annotations

import random

import pytest

from penguiflow.layout import Block, arrange


@pytest.mark.parametrize("seed", range(100))
def test_layout_keeps_boxes_apart(seed: int) -> None:
    """Boxes do not overlap, those inside are inside, and who comes first stands to the left."""
    chance = random.Random(seed)
    blocks = [Block(at, chance.uniform(40, 200), 30.0) for at in range(chance.randint(1, 12))]
    inner = Block("inner", 0.0, 0.0, blocks[: chance.randint(0, len(blocks) - 1)])
    top = Block("top", 0.0, 0.0, [*([inner] if inner.inside else []), *blocks[len(inner.inside) :]])
    pairs = {
        (a, b): chance.uniform(0, 100)
        for a in range(len(blocks))
        for b in range(a + 1, len(blocks))
        if chance.random() < 0.25
    }
    arrange(top, pairs)
    for holder in [top, inner] if inner.inside else [top]:
        for number, one in enumerate(holder.inside):
            assert holder.x < one.x
            assert holder.y < one.y
            assert one.x + one.width < holder.x + holder.width
            assert one.y + one.height < holder.y + holder.height
            for other in holder.inside[number + 1 :]:
                assert (
                    one.x + one.width <= other.x
                    or other.x + other.width <= one.x
                    or one.y + one.height <= other.y
                    or other.y + other.height <= one.y
                )
    within = {at: at < len(inner.inside) for at in range(len(blocks))}
    for a, b in pairs:
        if within[a] == within[b]:
            assert blocks[a].x + blocks[a].width <= blocks[b].x
