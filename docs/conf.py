"""How Sphinx builds these pages: ``python -m sphinx -W -E -b html docs OUT``.

Owns the settings and one directive, ``{command-help}``, which shows what a command of
``penguiflow`` prints for ``--help``. Invariant: a build needs no network and gives no
warning. Knows no page by name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.util.docstrings import prepare_docstring

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "PenguiFlow"
author = "the PenguiFlow contributors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = "PenguiFlow"
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"
myst_heading_anchors = 3
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True

MADE_BY_THE_PACKAGE = (
    "Runtime",
    "Run",
    "Session",
    "Context",
    "Controls",
    "State",
    "StreamWriter",
    "Stream",
    "Node",
    "Edge",
    "Expected",
    "RandomGraph",
    "Seen",
)
"""Classes that nobody makes by hand: how they are made is not shown."""


class CommandHelp(Directive):
    """Show the help of ``penguiflow <arguments>`` as this very checkout prints it."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = False
    option_spec: ClassVar[dict[str, object]] = {}

    def run(self) -> list[nodes.Node]:
        words = self.arguments[0].split() if self.arguments else []
        done = subprocess.run(
            [sys.executable, "-m", "penguiflow", *words, "--help"],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "88"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise self.error(done.stderr)
        return [nodes.literal_block(done.stdout, done.stdout, language="text")]


def without_constructor(
    app: Sphinx,
    what: str,
    name: str,
    of: object,
    options: object,
    *signature: str | None,
) -> tuple[str, str] | None:
    """Leave out the signatures of classes that nobody makes by hand."""
    made = what == "class" and name.rpartition(".")[2] in MADE_BY_THE_PACKAGE
    return ("", "") if made else None


def as_sentence(
    app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]
) -> None:
    """Undo what napoleon does to a property: text before a colon becomes its type."""
    if what == "property" and of.__doc__:
        lines[:] = prepare_docstring(of.__doc__)


def setup(app: Sphinx) -> None:
    """Make the directive and the hooks known."""
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-signature", without_constructor)
    app.connect("autodoc-process-docstring", as_sentence, priority=900)
