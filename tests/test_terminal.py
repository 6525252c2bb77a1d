from __future__ import annotations

import builtins
import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantwidget.terminal import Column, Terminal, cut, printable, progress, table, width_of

HOSTILE = {
    "\x1b[31mred": r"\x1b[31mred",
    "over\rwritten": r"over\rwritten",
    "two\nlines": r"two\nlines",
    "\x9b2J": r"\x9b2J",
    "\x07\x08\x7f": r"\x07\x08\x7f",
    "abc\u202etxt\u2066": r"abc\u202etxt\u2066",
    "\u200b\ufeff\u2028": r"\u200b\ufeff\u2028",
    "half \ud800": r"half \ud800",
    "\U000e0041": r"\U000e0041",
    "größe/层 ×": "größe/层 ×",
}


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_obey_is_written_as_an_escape(text):
    assert printable(text) == HOSTILE[text]


@given(st.text(st.characters()))
def test_whatever_the_name_a_terminal_is_left_alone(text):
    shown = printable(text)
    assert not any(unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for one in shown)
    assert printable(shown) == shown
    shown.encode("utf-8")


@given(st.text(st.characters(categories=["L", "N", "Mn", "So"]), max_size=60), st.integers(1, 40))
def test_a_cut_text_fits_and_keeps_both_ends(text, width):
    shown = cut(text, width)
    assert width_of(shown) <= width
    if width_of(text) <= width and len(text) <= 2 * width:
        assert shown == text
    else:
        head, tail = shown.split("…") if shown.count("…") == 1 else ("", "")
        assert text.startswith(head)
        assert text.endswith(tail)


@pytest.mark.parametrize("end", ["", "a" * 300])
def test_a_hundred_thousand_marks_on_one_letter_are_left_out(end):
    assert len(cut("a" + "\u0301" * 100_000 + end, 40)) < 200


def test_wide_characters_take_two_columns_and_marks_none():
    assert [width_of(text) for text in ("ab", "层", "e\u0301", "ＡＢ")] == [2, 2, 1, 4]


@pytest.mark.parametrize("width", [40, 50, 60, 80, 200])
def test_a_table_fits_and_leaves_out_the_last_ranks_first(width):
    columns = [
        Column("name", ["layer.with.a.long.name.weight", "层" * 20, "c"]),
        Column("kept", ["1", "2", "33"], 0, is_number=True),
        Column("low", ["x" * 12, "", "y"], 2),
        Column("high", ["x" * 12, "", "y"], 2),
        Column("middle", ["m" * 10, "m", ""], 1),
    ]
    lines = table(columns, width)
    assert len(lines) == 4
    assert max(map(width_of, lines)) <= width
    titles = lines[0].split()
    assert titles[:2] == ["name", "kept"]
    assert ("low" in titles) == ("high" in titles)
    assert ("low" in titles) <= ("middle" in titles)
    assert (width >= 80) == ("low" in titles)


def test_numbers_are_aligned_at_the_right():
    assert table([Column("a", ["x", "yy"]), Column("n", ["1", "1,000"], is_number=True)], 80) == [
        "a       n", "x       1", "yy  1,000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_left_out_where_it_is_not_wanted(environment, coloured, monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, setting in environment.items():
        monkeypatch.setenv(name, setting)
    screen, pipe = Screen(), io.StringIO()
    for stream in (screen, pipe):
        Terminal(stream).say("\x1b[5mtext", "error ", "red")
        Terminal(stream).write("heading", "bold")
    assert ("\x1b[31merror \x1b[0m" in screen.getvalue()) is coloured
    assert ("\x1b[1mheading" in screen.getvalue()) is coloured
    assert "\x1b[5m" not in screen.getvalue()
    assert "\x1b" not in pipe.getvalue()


def test_long_texts_are_broken_on_a_terminal_and_not_on_a_pipe(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    screen, pipe = Screen(), io.StringIO()
    for stream in (screen, pipe):
        Terminal(stream).say("word " * 30 + "x" * 90, "note ")
    assert all(len(re.sub(r"\x1b\[\d+m", "", line)) <= 50 for line in screen.getvalue().splitlines())
    assert all(line.startswith("     ") for line in screen.getvalue().splitlines()[1:])
    assert len(pipe.getvalue().splitlines()) == 1


def test_characters_that_an_encoding_lacks_are_written_as_escapes():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Terminal(stream).say("3 × 层")
    stream.flush()
    assert raw.getvalue() == b"3 \\xd7 \\u5c42\n"


@pytest.mark.parametrize("has_tqdm", [True, False])
def test_progress_shows_on_a_terminal_and_leaves_nothing_behind(has_tqdm, monkeypatch):
    monkeypatch.setattr("quantwidget.terminal.STEP_SECONDS", 0.0)
    if not has_tqdm:
        load = builtins.__import__

        def refuse(name, *args, **kwargs):
            if name == "tqdm":
                raise ImportError(name)
            return load(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", refuse)
    screen, pipe = Screen(), io.StringIO()
    for stream in (screen, pipe):
        with progress("reading", stream) as update:
            for done in range(0, 101, 10):
                update(done, 100)
    assert "reading" in screen.getvalue()
    assert "%" in screen.getvalue()
    assert "\n" not in screen.getvalue()
    assert screen.getvalue().rsplit("\r", 1)[-1].strip() == ""
    assert pipe.getvalue() == ""
