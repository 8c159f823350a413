"""The conservation check: a quiet runtime has all of its credit home.

Owns one truth, rules 2.3 and 2.9 read off `runtime.statistics()`: no credit out, no place taken, nothing in
flight, and for every edge offered = delivered + dropped + waiting. Knows nothing of what has run.
"""

from __future__ import annotations

from penguiflow import RuntimeStatistics

AT_REST = ("runs", "waiting_runs", "messages", "streams", "credit_out", "places_taken")


def imbalances(statistics: RuntimeStatistics, *, quiet: bool = True) -> list[str]:
    """Tell what a runtime has lost or kept; an empty list where all is home.

    Args:
        statistics: of the runtime.
        quiet: whether nothing should be in flight; else only the edges' sums are checked.
    """
    found: list[str] = []
    for edge in statistics.edges:
        name = f"{edge.source}→{edge.target}"
        if edge.offered != edge.delivered + edge.dropped + edge.waiting:
            found.append(
                f"{name}: offered {edge.offered} != delivered {edge.delivered} + dropped {edge.dropped}"
                f" + waiting {edge.waiting} (rule 2.9)"
            )
        if quiet and edge.waiting:
            found.append(f"{name}: {edge.waiting} still waiting (rule 2.3)")
    if not quiet:
        return found
    rest = {name: getattr(statistics, name) for name in AT_REST}
    found += [f"{name} is {value} where nothing runs (rule 2.3)" for name, value in rest.items() if value]
    return found + [
        f"{node.path}: {node.active} at work, {node.waiting} waiting for a place (rule 2.3)"
        for node in statistics.nodes
        if node.active or node.waiting
    ]


def assert_conserved(statistics: RuntimeStatistics, *, quiet: bool = True) -> None:
    """Fail with all that is not home.

    Args:
        statistics: ``runtime.statistics()``, read when every run is over.
        quiet: whether nothing should be in flight; else only the edges' sums are checked.
    """
    found = imbalances(statistics, quiet=quiet)
    if found:
        raise AssertionError("\n".join(found))
