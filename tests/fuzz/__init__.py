"""Fuzzers: random flows of all kinds of nodes against their reference evaluation."""
