"""Streams, symbols, JSON, and text that tries to talk to the terminal."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from astrid_core.cli.output import NeedsAnswerError, Output, clean, current, to_json, use
from astrid_hookspecs.exits import EXIT_NEEDS_ANSWER


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Row(NamedTuple):
    name: str
    size: int


def make(**options: object) -> tuple[Output, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Output(stdout=out, stderr=err, **options), out, err  # type: ignore[arg-type]


def test_results_go_to_stdout_and_the_rest_to_stderr() -> None:
    output, out, err = make()
    output.result({"a": 1}, text="a is 1")
    output.success("done")
    output.info("working")
    output.warning("careful")
    output.error("broken", hint="mend it")
    assert out.getvalue() == "a is 1\n✓ done\n"
    assert err.getvalue() == "i working\n! careful\n✗ error: broken\n  hint: mend it\n"


def test_json_keeps_stdout_to_one_document() -> None:
    output, out, err = make(format="json")
    output.success("done")
    output.info("working")
    output.result({"a": [1]}, text="never shown")
    assert json.loads(out.getvalue()) == {"a": [1]}
    assert out.getvalue() == '{\n  "a": [\n    1\n  ]\n}\n'
    assert err.getvalue() == ""


def test_text_may_be_made_on_demand() -> None:
    output, out, _ = make(format="json")
    output.result([], text=lambda: pytest.fail("made although nobody reads it"))
    assert out.getvalue() == "[]\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Row("a", 1), {"name": "a", "size": 1}),
        ([Row("a", 1)], [{"name": "a", "size": 1}]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ((1, 2), [1, 2]),
        (Path("/tmp/x"), "/tmp/x"),
        ({1: None}, {"1": None}),
        ("ä", "ä"),
    ],
)
def test_values_become_plain_json(value: object, expected: object) -> None:
    assert json.loads(to_json(value)) == expected


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "\x1b]0;title\x07", "a\rb", "\x9b31m", "\u202egnp.exe", "\u2066x", "\x7f", "\0"],
)
def test_untrusted_text_cannot_drive_the_terminal(text: str) -> None:
    shown = clean(f"name: {text}")
    assert all(character.isprintable() for character in shown)
    assert shown.startswith("name: ")
    assert all(character.isprintable() or character == "\n" for character in to_json([text]))
    assert json.loads(to_json([text])) == [text]


def test_ordinary_text_is_left_alone() -> None:
    text = "Zürich\t東京 🙂\nnext"
    assert clean(text) == text


def test_every_way_to_print_cleans() -> None:
    output, out, err = make()
    output.result(None, text="\x1b[1m")
    output.success("\x1b[1m")
    output.info("\x1b[1m")
    output.warning("\x1b[1m")
    output.error("\x1b[1m", hint="\x1b[1m")
    out.write(output.table(("A",), [("\x1b[1m",)]))
    assert "\x1b" not in out.getvalue() + err.getvalue()


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colour_needs_a_terminal_and_consent(
    monkeypatch: pytest.MonkeyPatch,
    stream: io.StringIO,
    environment: dict[str, str],
    *,
    coloured: bool,
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    Output(stderr=stream).warning("x")
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_a_table_is_aligned_and_never_cut() -> None:
    wide = "x" * 300
    table = Output().table(("NAME", "N"), [("a", 1), (wide, 22)])
    assert table.splitlines() == [f"{'NAME':300}  N", f"{'a':300}  1", f"{wide}  22"]
    assert Output().table(("A", "B"), []) == "A  B"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)],
)
def test_a_question_is_asked_on_stderr_and_defaults_to_no(
    monkeypatch: pytest.MonkeyPatch, answer: str, *, expected: bool
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    output, out, err = make()
    assert output.confirm("Remove it") is expected
    assert err.getvalue() == "Remove it? [y/N] "
    assert out.getvalue() == ""


@pytest.mark.parametrize("reason", ["no-terminal", "ci", "json"])
def test_a_question_nobody_can_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n") if reason == "no-terminal" else Terminal())
    if reason == "ci":
        monkeypatch.setenv("CI", "1")
    output, _, _ = make(format="json" if reason == "json" else "pretty")
    with pytest.raises(NeedsAnswerError) as caught:
        output.confirm("Remove it", flag="--force")
    assert caught.value.exit_code == EXIT_NEEDS_ANSWER
    assert "--force" in str(caught.value.hint)
    assert output.confirm("Remove it", assume_yes=True) is True


def test_progress_is_one_line_per_step_without_a_terminal() -> None:
    output, out, err = make()
    with output.progress() as report:
        for fraction in (None, 0.5, 1.0):
            report("compiling", fraction)
        report("linking", None)
    assert err.getvalue() == "i compiling\ni linking\n"
    assert out.getvalue() == ""


def test_progress_is_silent_under_json() -> None:
    output, out, err = make(format="json")
    with output.progress() as report:
        report("compiling", 0.5)
    assert out.getvalue() + err.getvalue() == ""


def test_progress_on_a_terminal_is_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    output = Output(stdout=io.StringIO(), stderr=terminal)
    with output.progress() as report:
        worker = threading.Thread(target=lambda: report("compiling [x]", 7.0))
        worker.start()
        worker.join()
    assert "compiling [x]" in terminal.getvalue()
    assert "\x1b[2K" in terminal.getvalue()  # erased at the end


def test_the_current_output_belongs_to_the_block() -> None:
    mine = Output(format="json")
    with use(mine):
        assert current() is mine
    assert current() is not mine
