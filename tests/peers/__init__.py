"""The comparison in the README, made by a command: `python -m tests.peers` (needs the network; minutes)."""
