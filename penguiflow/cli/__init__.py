"""The command line: `penguiflow run`, `draw`, `check` and `demo`."""

from penguiflow.cli.commands import main

__all__ = ["main"]
