"""The benchmarks: what fast means, as ratios measured side by side in one run (design section 11).

``python -m tests.bench`` prints the table; ``--json FILE`` writes it too.
Peers come with the extra ``bench``.
"""
