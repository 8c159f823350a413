"""What can be told from the description of a random flow alone: order, dominators, matching gathers.

Owns the analysis that the reference evaluation stands on; written apart from the package's own, so that one
checks the other. Knows nothing of payloads.
"""

from __future__ import annotations

from collections.abc import Iterable

from .shapes import CHUNKWISE, ROOT, Layout


class Topology:
    """The analysed layout.

    Args:
        layout: the flow; its roads out of ``"input"`` lead to the entries.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout: Layout = layout
        self.names: list[str] = [ROOT, *layout.shapes]
        self.successors: dict[str, list[str]] = {
            name: [r.target for r in layout.roads if r.source == name] for name in self.names
        }
        self.order: list[str] = self._order()
        self.rank: dict[str, int] = {name: position for position, name in enumerate(self.order)}
        self.dominators: dict[str, set[str]] = self._dominators()

    def _order(self) -> list[str]:
        """Sort the nodes by their edges, feedback edges aside."""
        ahead = {
            n: [r.target for r in self.layout.roads if r.source == n and not r.feedback] for n in self.names
        }
        waiting = dict.fromkeys(self.names, 0)
        for targets in ahead.values():
            for target in targets:
                waiting[target] += 1
        ready = [name for name in self.names if waiting[name] == 0]
        order: list[str] = []
        while ready:
            name = ready.pop(0)
            order.append(name)
            for target in ahead[name]:
                waiting[target] -= 1
                if waiting[target] == 0:
                    ready.append(target)
        assert len(order) == len(self.names), "a cycle without a feedback edge"
        return order

    def _dominators(self) -> dict[str, set[str]]:
        """Find, for each node, the nodes that every way to it passes."""
        before: dict[str, list[str]] = {name: [] for name in self.names}
        for name, targets in self.successors.items():
            for target in targets:
                before[target].append(name)
        found = {name: set(self.names) for name in self.names}
        found[ROOT] = {ROOT}
        changed = True
        while changed:
            changed = False
            for name in self.order[1:]:
                over = [found[b] for b in before[name]]
                now = {name} | (set.intersection(*over) if over else set())
                if now != found[name]:
                    found[name], changed = now, True
        return found

    def dominator(self, name: str) -> str:
        """Name the nearest node that every way to this one passes."""
        strict = self.dominators[name] - {name}
        return max(strict, key=lambda other: self.rank[other])

    def reached(self, start: Iterable[str], without: str) -> set[str]:
        """Collect what can be reached from some nodes without passing one."""
        found: set[str] = set()
        ahead = [name for name in start if name != without]
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += [target for target in self.successors[name] if target != without]
        return found

    def pairs_chunks(self, join: str) -> bool:
        """Say whether a join pairs the chunks of its dominator's stream, and not what became of it."""
        if any(slot.stream for slot in self.layout.shapes[join].slots):
            return False
        between = self.reached(self.successors[self.dominator(join)], without=join)
        leading = {name for name in between if join in self.reached([name], without="")}
        for name in leading:
            shape = self.layout.shapes[name]
            if shape.form == "join":
                if not self.pairs_chunks(name):
                    return False
            elif shape.form not in CHUNKWISE:
                return False
        return True

    def gathers(self, spread: str) -> list[str]:
        """Name the gathers that take the parts of a spread: at the same depth of nesting."""
        found: list[str] = []
        seen: set[tuple[str, int]] = set()
        ahead = [(target, 1) for target in self.successors[spread]]
        while ahead:
            name, depth = ahead.pop()
            if (name, depth) in seen or depth > len(self.names):
                continue
            seen.add((name, depth))
            form = self.layout.shapes[name].form
            depth += {"spread": 1, "gather": -1}.get(form, 0)
            if depth == 0:
                found.append(name)
            else:
                ahead += [(target, depth) for target in self.successors[name]]
        return found
