"""Headers of W3C Trace Context: what is written is read, what is invalid is nothing, and nothing raises."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penguiflow.wire.traceparent import KNOWN_FLAGS, TraceParent, clean_tracestate, format, parse

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def ids(digits: int) -> st.SearchStrategy[str]:
    """Give ids of that many digits, never all zero."""
    return st.integers(1, 16**digits - 1).map(lambda number: f"{number:0{digits}x}")


PARENTS = st.builds(TraceParent, ids(32), ids(16), st.integers(0, KNOWN_FLAGS))
NEARLY = st.text("0f-1A =,@\t\x00é", max_size=70) | st.tuples(
    st.sampled_from(["00", "01", "ff", "FF", "0"]),
    st.sampled_from([TRACE, "0" * 32, TRACE.upper(), TRACE[:-1]]),
    st.sampled_from([SPAN, "0" * 16, SPAN + "0"]),
    st.sampled_from(["00", "01", "0g", "1", "01-", "01-x", "01.x"]),
).map("-".join)
ANYTHING = st.text() | NEARLY | st.none() | st.binary() | st.integers()


@given(parent=PARENTS)
def test_what_is_written_is_read(parent: TraceParent) -> None:
    assert parse(format(parent)) == parent
    assert len(format(parent)) == 55


@given(text=ANYTHING)
@example(text=f"00-{TRACE}-{SPAN}-01\n")
@example(text=f"00-{TRACE}-{SPAN}-0١")
def test_no_input_raises(text: object) -> None:
    """What is read at all is valid, and stays the same from then on."""
    parent = parse(text)
    if parent is not None:
        assert parse(format(parent)) == parent
        assert isinstance(text, str)
        assert format(parent)[2:53] == text.strip(" \t")[2:53]
    state = clean_tracestate(text)
    assert clean_tracestate(state) == state


def test_the_standards_examples() -> None:
    """Version 00, sampled and not."""
    sampled = parse(f"00-{TRACE}-{SPAN}-01")
    assert sampled == TraceParent(TRACE, SPAN, 1)
    assert sampled.sampled
    unsampled = parse(f"00-{TRACE}-{SPAN}-00")
    assert unsampled == TraceParent(TRACE, SPAN, 0)
    assert not unsampled.sampled


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"FF-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f".0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-0A",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-001",
        f"00-{TRACE}-{SPAN}-01.",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"cc-{TRACE}-{SPAN}-010",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_invalid_is_nothing(text: str) -> None:
    """Wrong lengths and letters, upper case, zeros, version ff, more than version 00 has, two headers."""
    assert parse(text) is None


@pytest.mark.parametrize("more", ["", "-", "-what-the-future-will-be-like"])
def test_a_later_version_is_read_as_this_one(more: str) -> None:
    """What follows is not known; it goes on as version 00."""
    parent = parse(f"cc-{TRACE}-{SPAN}-01{more}")
    assert parent == TraceParent(TRACE, SPAN, 1)
    assert format(parent) == f"00-{TRACE}-{SPAN}-01"


@given(flags=st.integers(0, 0xFF))
def test_unknown_flags_are_not_passed_on(flags: int) -> None:
    """Sampled and random are kept, the others are 0, whether they come from outside or from here."""
    for text in (f"00-{TRACE}-{SPAN}-{flags:02x}", format(TraceParent(TRACE, SPAN, flags))):
        assert parse(text) == TraceParent(TRACE, SPAN, flags & KNOWN_FLAGS)


@pytest.mark.parametrize("around", [" ", "\t", "\t  \t"])
def test_blanks_around_a_value_are_not_part_of_it(around: str) -> None:
    assert parse(f"{around}00-{TRACE}-{SPAN}-01{around}") == TraceParent(TRACE, SPAN, 1)


@pytest.mark.parametrize(
    ("trace_id", "span_id", "flags"),
    [("", SPAN, 0), (TRACE, SPAN + "\r\n", 0), ("0" * 32, SPAN, 0), (TRACE, "0" * 16, 0), (TRACE, SPAN, 256)],
)
def test_what_could_not_be_written_is_refused(trace_id: str, span_id: str, flags: int) -> None:
    """No bad header can come from here: the parent itself is refused."""
    with pytest.raises(ValueError, match="is no traceparent"):
        TraceParent(trace_id, span_id, flags)


ALL_OF_A_KEY = string.ascii_lowercase + string.digits + "_-*/"
ALL_OF_A_VALUE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"),
        ("\t foo=1 \t", "foo=1"),
        (",foo=1,, \t ,bar=2,", "foo=1,bar=2"),
        ("foo=1,bar=2,foo=3", "foo=1,bar=2"),
        ("foo= 1", "foo= 1"),
        ("1foo=1", "1foo=1"),
        (f"{ALL_OF_A_KEY}={ALL_OF_A_VALUE}", f"{ALL_OF_A_KEY}={ALL_OF_A_VALUE}"),
        (f"{ALL_OF_A_KEY}@a-z0-9_-*/=1", f"{ALL_OF_A_KEY}@a-z0-9_-*/=1"),
        (f"{'z' * 256}={'v' * 256}", f"{'z' * 256}={'v' * 256}"),
        (f"{'t' * 241}@{'v' * 14}=1", f"{'t' * 241}@{'v' * 14}=1"),
        ("", ""),
        (" , ,\t", ""),
    ],
)
def test_a_valid_state_is_passed_on(text: str, clean: str) -> None:
    """In its order, without blanks around members, without empty and double ones."""
    assert clean_tracestate(text) == clean


@pytest.mark.parametrize(
    "member",
    [
        "foo",
        "=1",
        "foo=",
        "foo =1",
        "FOO=1",
        "foo.bar=1",
        "_foo=1",
        "foo@=1",
        "@foo=1",
        "foo@1=1",
        "foo@@bar=1",
        "foo@bar@baz=1",
        "foo=bar=baz",
        "foo=é",
        "foo=a\tb",
        "foo=a\nb",
        f"{'z' * 257}=1",
        f"{'t' * 242}@v=1",
        f"t@{'v' * 15}=1",
        f"foo={'v' * 257}",
    ],
)
def test_one_bad_member_voids_the_state(member: str) -> None:
    assert clean_tracestate(f"bar=1,{member},baz=2") == ""


def test_a_state_has_at_most_32_members() -> None:
    """Empty ones don't count, those with the same key do."""
    members = [f"bar{number}={number}" for number in range(33)]
    assert clean_tracestate(",,".join(members[:32])) == ",".join(members[:32])
    assert clean_tracestate(",".join(members)) == ""
    assert clean_tracestate(",".join(["foo=1"] * 33)) == ""
