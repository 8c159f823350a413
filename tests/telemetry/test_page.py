"""The page of a run: it needs nothing else, nothing in a trace becomes code, and much of it opens quickly."""

import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from penguiflow.telemetry.records import ErrorRecord, EventRecord, RunTrace
from penguiflow.telemetry.views.page import page

from .browser import CHROMIUM, Browser, browser
from .traces import T0, agent_run, fan_out, line, live_run, many_steps, part, step, stream, trace

HOSTILE = (
    "</script><script>window.hacked=1</script><!--<script>",
    "<img src=x onerror='window.hacked=1'>",
    '"><svg onload=window.hacked=1>',
    "a\u2028b\u2029c\x00d\x1b[31m\ud800\uffff",
    "]]>&lt;&amp;\\u003cscript\\u003e${window.hacked=1}`",
    "javascript:window.hacked=1//",
    "\u202egnp.exe\u202c",
    "x" * 5000,
    "",
)


class Reader(HTMLParser):
    """Reads the elements of a page, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)

    def data(self) -> dict[str, list[list[object]]]:
        return json.loads(self.scripts[0])  # type: ignore[no-any-return]


def hostile_run() -> RunTrace:
    """A run in which every text is an attack."""
    edges = [("input", HOSTILE[0]), *pairwise(HOSTILE), (HOSTILE[-1], "reader")]
    steps, streams = [], []
    for number, word in enumerate(HOSTILE):
        error = ErrorRecord(word, word, (word, word), word)
        said = {word: word, "deep": {word: [word, {word: math.nan}]}, "object": object(), "big": 10**30}
        event = EventRecord(T0 + number, word, said)
        steps.append(step(word, number, number + 0.9, step=number + 1, error=error, events=(event,)))
        streams.append(
            stream(word, number, number + 0.9, (0.3, 0.3, 0.3), step=number + 1, stream_id=word, error=error)
        )
    run = trace(
        [part(0, edges, 0, 9, flow=HOSTILE[0], status=HOSTILE[1], error=ErrorRecord(HOSTILE[0], HOSTILE[2]))],
        steps,
        streams,
        9,
        status="failed",
        diagnosis=HOSTILE,
    )
    words = {"run_id": HOSTILE[0], "flow": HOSTILE[1], "trace_id": HOSTILE[2], "tenant": HOSTILE[3]}
    return replace(run, summary=replace(run.summary, **words))


# -- what stands in it


def test_the_page_says_what_the_run_was() -> None:
    read = Reader(page(agent_run()))
    words = " ".join(read.words)
    assert "Node plan was slow" in words
    for fact in ("support-agent", "run-7f3a", "4bf92f3577b34da6a3ce929d0e0e4736", "2025-11-26 12:00:00 UTC"):
        assert fact in words
    boxes = [found["data-node"] for tag, found in read.elements if tag == "g" and "data-node" in found]
    assert boxes == ["plan", "search", "lookup", "write", "redact", "rewrite", "fetch"]
    data = read.data()
    assert (len(data["parts"]), len(data["steps"]), len(data["streams"])) == (2, 12, 2)
    assert [error[0] for error in data["errors"]] == ["RateLimited", "StepError"]


def test_the_page_loads_nothing() -> None:
    for run in (agent_run(), hostile_run(), live_run()):
        read = Reader(page(run))
        for tag, attributes in read.elements:
            assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form", "video", "audio")
            assert not {"src", "srcset", "action", "style", "background", "poster"} & set(attributes)
            assert not [name for name in attributes if name.startswith("on") or name.endswith("href")]
    style_and_script = page(trace([]))
    assert "http://" not in style_and_script
    assert "https://" not in style_and_script
    assert "@import" not in style_and_script
    assert re.findall(r"url\((?!#)", style_and_script) == []


def test_the_policy_forbids_all_but_its_own_style_and_script() -> None:
    read = Reader(page(agent_run()))
    metas = [found for tag, found in read.elements if tag == "meta" and "http-equiv" in found]
    assert [found["http-equiv"] for found in metas] == ["Content-Security-Policy"]
    policy = metas[0]["content"] or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src" not in policy


def test_the_same_trace_gives_the_same_page() -> None:
    assert page(agent_run()) == page(agent_run())
    assert page(hostile_run()).replace("object at", "") == page(hostile_run()).replace("object at", "")


def test_nothing_in_a_trace_is_markup() -> None:
    written = page(hostile_run())
    written.encode("utf-8")
    read = Reader(written)
    assert [tag for tag, _ in read.elements].count("script") == 2
    assert [tag for tag, _ in read.elements].count("svg") == 1
    assert "\u2028" not in written
    assert "\u2029" not in written
    assert "\x00" not in written
    data = read.data()
    assert HOSTILE[0] in data["names"]
    assert HOSTILE[3] in data["names"]


def test_numbers_that_json_has_not_are_left_out() -> None:
    run = trace(
        [part(0, line("a"), 0, math.inf)],
        [step("a", 0, math.nan, (math.nan, math.inf, -1.0))],
        seconds=math.inf,
    )
    run = replace(run, summary=replace(run.summary, seconds=1.0))
    assert Reader(page(run)).data()["steps"][0][9:12] == [0, 0, 0]


@pytest.mark.parametrize(
    "run", [trace([]), trace([part(0, [], 0, None)]), live_run()], ids=["no", "bare", "live"]
)
def test_runs_of_which_little_is_known_have_a_page(run: RunTrace) -> None:
    assert page(run).endswith("</html>\n")


def test_large_flows_are_not_drawn() -> None:
    names = [f"n{number}" for number in range(200)]
    written = page(trace([part(0, line(*names), 0, 1)], [step("n1", 0, 1)], seconds=1))
    assert "Not drawn: it has 200 nodes and 201 edges." in written


# -- what it does

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium is installed: its page is not looked at"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


def shown(one: Browser, folder: Path, run: RunTrace, state: str = "", **more: object) -> None:
    file = folder / "run.html"
    file.write_text(page(run), encoding="utf-8")
    one.open(f"{file.as_uri()}{state}", **more)  # type: ignore[arg-type]


@needs_browser
def test_the_rows_are_there_without_a_complaint(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, agent_run())
    before = "support-agent plan search lookup plan plan search web-search rewrite fetch plan write answer-1"
    assert chromium.names() == [*before.split(), "lookup", "redact", "answer-1"]
    assert chromium.complaints() == []
    assert [url for url in chromium.requests() if not url.startswith(("file:", "about:"))] == []
    assert coloured(chromium) > 2000


def coloured(one: Browser) -> int:
    """Count what is drawn on the canvas of bars."""
    return int(
        one.value(
            "(() => { const c = document.getElementById('bars'); "
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; "
            "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 200; return n; })()"
        )
    )


@needs_browser
def test_the_address_says_what_is_shown(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, agent_run(), "#zoom=1-2&filter=plan&select=3")
    assert chromium.names() == "support-agent plan plan plan plan".split()
    assert chromium.value("document.getElementById('filter').value") == "plan"
    panel = chromium.text("#panel")
    assert "RateLimited" in panel
    assert "agent/model.py:88 in complete" in panel
    assert "HTTPStatusError" in panel
    assert chromium.value("location.hash") == "#zoom=1-2&filter=plan&select=s3"
    for damaged in (
        "#zoom=9-1",
        "#zoom=x",
        "#select=__proto__&open=constructor",
        "#%E0%A4%A",
        "#zoom=1e99-2e99",
    ):
        shown(chromium, tmp_path, agent_run(), damaged)
        assert len(chromium.names()) == 16
        assert chromium.complaints() == []


@needs_browser
def test_wheel_drag_and_keys_move_the_time_axis(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, agent_run())
    left, top, width, _ = chromium.box("#bars")
    middle = (left + width / 2, top + 60)

    def window() -> tuple[float, float]:
        found = re.search(r"zoom=([\d.]+)-([\d.]+)", str(chromium.value("location.hash")))
        return (float(found[1]), float(found[2])) if found else (0.0, 6.49)

    ctrl, shift = 2, 8
    chromium.mouse("Wheel", *middle, deltaX=0, deltaY=-200, modifiers=ctrl)
    chromium.wait("location.hash.includes('zoom')")
    near = window()
    assert near[0] > 0.5
    assert near[1] < 6
    chromium.mouse("Wheel", *middle, deltaX=0, deltaY=300, modifiers=shift)
    chromium.wait(f"!location.hash.includes('{near[0]}')")
    assert window()[0] > near[0]
    assert sum(window()[::-1]) - 2 * window()[0] == pytest.approx(near[1] - near[0], rel=1e-3)
    before = window()
    chromium.mouse("Pressed", *middle, button="left", buttons=1, clickCount=1)
    chromium.mouse("Moved", middle[0] + 120, middle[1], button="left", buttons=1)
    chromium.mouse("Released", middle[0] + 120, middle[1], button="left", clickCount=1)
    assert window()[0] < before[0]
    chromium.key("0")
    assert chromium.value("location.hash") == ""
    chromium.key("+")
    assert window()[1] - window()[0] == pytest.approx(6.49 * 0.6, rel=1e-3)


@needs_browser
def test_it_can_be_used_with_keys_alone(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, agent_run())
    for _ in range(2):
        chromium.key("ArrowDown")
    assert chromium.text("#panel h2") == "plan"
    assert chromium.value("location.hash") == "#select=s0"
    active = (
        "document.getElementById(document.getElementById('scroll').getAttribute('aria-activedescendant'))"
    )
    chromium.wait(f"{active} && {active}.getAttribute('aria-selected') === 'true'")
    chromium.key("Enter")
    assert "zoom=0-" in str(chromium.value("location.hash"))
    chromium.key("/")
    chromium.call("Input.insertText", text="REDACT")
    chromium.wait("document.querySelectorAll('#labels .row').length === 3")
    assert chromium.names() == "support-agent redact answer-1".split()
    chromium.key("Escape")
    chromium.wait("document.querySelectorAll('#labels .row').length === 16")
    chromium.value("document.querySelector('[data-node=search]').focus()")
    chromium.key("Enter")
    chromium.wait("document.getElementById('filter').value === 'search'")


@needs_browser
def test_a_click_shows_all_that_is_known_of_a_row(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, agent_run(), height=1500)
    left, top, _, _ = chromium.box("#labels")
    chromium.click(left + 100, top + 12 * 28 + 14)
    panel = chromium.text("#panel")
    for words in (
        "answer-1",
        "1,311",
        "after 12 ms",
        "waits for its consumer",
        "248 ms",
        "264",
        "chunks, per",
    ):
        assert words in panel
    chromium.click(left + 100, top + 11 * 28 + 14)
    assert "completion" in chromium.text("#panel")
    assert "1873" in chromium.text("#panel")


@needs_browser
def test_many_steps_of_a_node_are_one_row_until_it_is_opened(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, many_steps(2000))
    assert sorted(chromium.names()) == sorted("index-documents tokens score load embed store".split())
    chromium.key("ArrowDown")
    chromium.key("ArrowDown")
    chromium.key("Enter")
    chromium.wait("document.querySelectorAll('#labels .row').length > 15")
    assert "open=" in str(chromium.value("location.hash"))
    shown(chromium, tmp_path, many_steps(2000), "#zoom=4-4.2&open=gp0%3Astep%3Aembed&filter=embed")
    assert chromium.value("document.getElementById('count').textContent") == "666 of 2,032"
    assert chromium.value("document.querySelectorAll('#labels .row').length") < 60
    assert chromium.value("document.getElementById('scroll').scrollTop") > 2000


@needs_browser
def test_ten_thousand_steps_open_quickly(chromium: Browser, tmp_path: Path) -> None:
    run = many_steps(10_000)
    start = time.perf_counter()
    written = page(run)
    made = time.perf_counter() - start
    shown(chromium, tmp_path, run)
    ready = float(chromium.value("Number(document.documentElement.dataset.ready)"))
    start = time.perf_counter()
    for _ in range(10):
        chromium.key("+")
        chromium.value("new Promise((done) => requestAnimationFrame(() => done(1)))")
    frames = (time.perf_counter() - start) / 10
    print(
        f"{len(written)} characters, made in {made:.2f} s, ready after {ready:.0f} ms, {frames:.3f} s a frame"
    )
    assert ready < 3000
    assert frames < 0.5


@needs_browser
def test_hostile_texts_are_shown_and_not_run(chromium: Browser, tmp_path: Path) -> None:
    for number in range(len(HOSTILE)):
        shown(chromium, tmp_path, hostile_run(), f"#select={number}")
        assert chromium.value("window.hacked") is None
        assert chromium.complaints() == []
        assert [url for url in chromium.requests() if not url.startswith(("file:", "about:"))] == []
    assert chromium.value("document.querySelectorAll('img, #panel svg, #labels svg').length") == 0


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_are_readable(chromium: Browser, tmp_path: Path, scheme: str) -> None:
    """The ink of texts differs enough from the ground, by the measure of WCAG."""
    shown(chromium, tmp_path, fan_out(), scheme=scheme)
    colours = chromium.value(
        "['--ground', '--strong', '--text'].map((name) => "
        "getComputedStyle(document.documentElement).getPropertyValue(name).trim())"
    )
    ground, *inks = [luminance(colour) for colour in colours]
    assert (ground < 0.1) == (scheme == "dark")
    for ink in inks:
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) > 4.5
    picture = tmp_path / "page.png"
    chromium.screenshot(picture)
    assert picture.stat().st_size > 20_000


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@needs_browser
def test_damaged_traces_are_shown_as_far_as_they_go(chromium: Browser, tmp_path: Path) -> None:
    """Parts that call each other, steps of no part, streams of no step, ends before beginnings."""
    parts = [
        part(0, line("a"), 0, 5),
        part(1, line("b"), 0, 5, caller=(2, 1)),
        part(2, line("c"), 0, 5, caller=(1, 1)),
        part(3, line("d"), 4, 5, caller=(0, 99)),
    ]
    steps = [step(name, 0, 5, part=number) for number, name in enumerate("abc")]
    steps += [step("lost", 1, 2, part=77), step("back", 3, 1, step=5), step("open", 1, None, step=6)]
    streams = [stream("x", 0, 2, (1, 0.5, 0.5), step=1234), stream("y", 0, 0, (0, 0, 0), part=55)]
    shown(chromium, tmp_path, trace(parts, steps, streams, 5))
    assert chromium.complaints() == []
    assert {"a", "b", "c", "lost", "back", "open"} <= set(chromium.names())
    for empty in (trace([]), trace([part(0, [], 0, None)])):
        shown(chromium, tmp_path, empty)
        assert chromium.complaints() == []
