"""Page: a run as one HTML page that needs nothing else.

Owns the frame of the page: what is said without a script, and what the script works on. Invariant: it loads
nothing from anywhere, which its own content security policy forbids; nothing in a trace can become markup or
code; the same trace gives the same bytes. Knows neither stores nor files but its own style and script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files

from ..records import UNDER_WAY, RunTrace
from .amounts import seconds
from .causes import why
from .page_data import data, number
from .page_drawing import drawings, text
from .pauses import Idle

_UNIT = re.compile(r"(\d) (s|ms|%)(?!\w)")
_STYLES = ("page_style.css",)
_SCRIPTS = ("page_model.js", "page_bars.js", "page_panel.js", "page_script.js")

_KEYS = (
    ("+ −", "zoom"),
    ("← →", "pan"),
    ("0", "whole run"),
    ("↑ ↓", "rows"),
    ("Enter", "open or close, zoom to a row"),
    ("/", "filter"),
    ("Esc", "clear"),
)


def page(trace: RunTrace) -> str:
    """Write a run as a page."""
    return "\n".join([*_lines(trace), ""])


def _lines(trace: RunTrace) -> Iterator[str]:
    summary = trace.summary
    style, script = _asset(_STYLES), f'"use strict";(function(){{\n{_asset(_SCRIPTS)}}})();'
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">'
    yield f"<title>{text(summary.flow)} · {text(summary.run_id)}</title>"
    yield f"<style>{style}</style>\n</head>\n<body>"
    yield from _header(trace)
    yield "<main>"
    pictures = list(drawings(trace))
    yield f'<section class="flows{" pair" if len(pictures) == 2 else ""}" aria-label="flow">'
    yield from pictures
    yield "</section>"
    yield from _waterfall(paused=bool(trace.pauses))
    yield "</main>"
    yield f'<script type="application/json" id="trace">{data(trace)}</script>'
    yield f"<script>{script}</script>\n</body>\n</html>"


def _header(trace: RunTrace) -> Iterator[str]:
    summary = trace.summary
    first, *chain = why(trace)
    yield '<header>\n<p class="eyebrow">'
    yield f'<span class="status {_status_class(summary.status)}">{text(summary.status)}</span>'
    yield f'<span class="flow-name">{text(summary.flow)}</span>'
    yield f'<span class="run-id">{text(summary.run_id)}</span></p>'
    yield f'<h1 id="verdict">{_kept(first)}</h1>'
    if chain:
        yield '<ol class="chain">'
        yield from (f"<li>{_kept(sentence)}</li>" for sentence in chain)
        yield "</ol>"
    yield '<dl class="facts">'
    for name, value in _facts(trace):
        yield f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>"
    yield "</dl>\n</header>"


def _kept(sentence: str) -> str:
    """Escape a sentence, with its numbers and units kept on one line."""
    return text(_UNIT.sub("\\1\u00a0\\2", sentence))


def _facts(trace: RunTrace) -> Iterator[tuple[str, str]]:
    summary = trace.summary
    yield (
        "took" if summary.status not in ("waiting", *UNDER_WAY) else "so far",
        seconds(number(summary.seconds)),
    )
    if summary.waited > 0:
        yield "waited before, to be admitted", seconds(number(summary.waited))
    idle = Idle(trace, number(summary.started) + max(number(summary.seconds), 0))
    if idle.pauses:
        paused = sum(end - start for start, end in map(idle.times, idle.pauses))
        yield "paused", seconds(paused) + (f" ({len(idle.pauses):,} times)" if idle.pauses[1:] else "")
    yield "began", _moment(summary.started)
    attempts = len(trace.steps)
    retried = sum(step.attempt > 1 for step in trace.steps)
    yield "steps", f"{attempts:,}" + (f" ({retried:,} retried)" if retried else "")
    if trace.streams:
        chunks = sum(stream.chunks for stream in trace.streams)
        yield "streams", f"{len(trace.streams):,} with {chunks:,} chunks"
    errors = sum(step.error is not None for step in trace.steps)
    if errors:
        yield "failed attempts", f"{errors:,}"
    if summary.tenant:
        yield "tenant", summary.tenant
    yield "trace", summary.trace_id
    if trace.left_out:
        yield "not kept", f"{trace.left_out:,} records"


def _moment(moment: float) -> str:
    """Write a time of day, in UTC; no time of day where it is none."""
    whole = min(max(number(moment, 3), 0), 253402300799)
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=whole)
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _status_class(status: str) -> str:
    known = ("done", "failed", "cancelled", "expired", "lost", "running", "waiting", "paused", "interrupted")
    return status if status in known else "unknown"


def _waterfall(*, paused: bool) -> Iterator[str]:
    """Give the frame that the script fills."""
    yield '<section class="fall" aria-label="waterfall">\n<div class="tools">'
    yield '<input id="filter" type="search" placeholder="Filter by node" aria-label="filter by node" '
    yield 'autocomplete="off" spellcheck="false">'
    yield '<span id="count" role="status"></span>'
    yield '<span class="legend" aria-label="legend">'
    for kind, says in (
        ("source", "waits for input"),
        ("node", "at work"),
        ("credit", "waits for its consumer"),
    ):
        yield f'<span><i class="swatch {kind}"></i>{says}</span>'
    yield '<span><i class="swatch queue"></i>queued</span>'
    if paused:
        yield '<span><i class="swatch pause"></i>paused</span>'
    for kind, says in (
        ("first", "first chunk"),
        ("chunks", "chunks"),
        ("retry", "retry"),
        ("error", "error"),
    ):
        yield f'<span><i class="swatch {kind}"></i>{says}</span>'
    yield "</span>"
    yield '<span class="buttons">'
    for name, sign, says in (
        ("out", "−", "zoom out"),
        ("in", "+", "zoom in"),
        ("all", "all", "show the whole run"),
    ):
        yield f'<button type="button" id="{name}" aria-label="{says}" title="{says}">{sign}</button>'
    yield "</span>\n</div>"
    yield '<div class="grid">\n<div class="chart" id="chart">'
    yield '<div class="above"><div class="corner"><span>step</span><span>took</span></div>'
    yield '<div class="scale"><canvas id="overview" aria-hidden="true"></canvas>'
    yield '<canvas id="ruler" aria-hidden="true"></canvas></div></div>'
    yield '<div id="scroll" tabindex="0" role="tree" aria-label="steps and streams">'
    yield '<div id="tall" role="presentation"><div id="layer" role="presentation">'
    yield '<div id="labels" role="presentation"></div>'
    yield '<canvas id="bars" aria-hidden="true"></canvas></div></div></div>'
    keys = "".join(f"<span><kbd>{key}</kbd> {says}</span>" for key, says in _KEYS)
    yield f'<p class="keys">{keys}<span><kbd>Ctrl</kbd> wheel zoom</span><span>drag pan</span></p></div>'
    yield '<aside id="panel" aria-live="polite" aria-label="details"></aside>\n</div>'
    yield "<noscript><p>The waterfall needs JavaScript, which this browser does not run.</p></noscript>"
    yield "</section>"


def _asset(names: tuple[str, ...]) -> str:
    here = files(__package__)
    return "\n".join(here.joinpath(name).read_text(encoding="utf-8") for name in names)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
