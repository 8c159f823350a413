"""The fuzzers find what they are there for.

That the engine is right without a mutation is what the other fuzzers say, on the same seeds.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .mutations import MUTATIONS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_is_found(name: str) -> None:
    """Truth: of the trials in which one call goes wrong, the fuzzer tells many."""
    command = [sys.executable, "-m", "tests.fuzz.mutations", name, "60"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout)
    assert counts["slipped"] > counts["trials"] / 3
    assert counts["found"] > counts["slipped"] / 5
