"""Durable runs: what a run gives does not depend on how often its process dies (part 5 of the rules).

`flows` and `stream_flows` have a flow of each kind, `lives` lets a process die at any record, `kill` kills
real ones: ``python -m tests.durable.kill --seeds 200``.
"""
