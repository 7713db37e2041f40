"""What the pages tell their readers to do works, and prints what the pages say."""

from __future__ import annotations

import importlib
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from astrid_sdk.testing import CapsuleHarness
from tests.docs.cli_reference import read_leaves
from tests.docs.markdown import DOCS, ROOT, blocks, page_id, pages
from tests.docs.reader import Reader, first_difference, split_commands


@pytest.mark.slow
def test_the_tutorial_works(graduate: Reader) -> None:
    assert (graduate.home / ".astrid/home/default/.local/capsules/weather").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "at_least"),
    [
        ("embedding.md", 9),
        ("writing-capsules.md", 6),
        ("capsule-manifest.md", 1),
        ("troubleshooting.md", 7),
    ],
)
def test_the_examples_of_a_page_work(graduate: Reader, page: str, at_least: int) -> None:
    assert graduate.follow(DOCS / page) >= at_least


@pytest.mark.slow
def test_the_examples_about_plugins_need_no_capsule(tmp_path: Path) -> None:
    assert Reader(tmp_path / "home").follow(DOCS / "plugins.md") == 4


@pytest.mark.slow
def test_the_examples_about_principals_need_no_capsule(tmp_path: Path) -> None:
    """In a home of their own: other pages give `bob` a profile."""
    assert Reader(tmp_path / "home").follow(DOCS / "principals.md") == 3


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_code_in_pages_is_at_least_well_formed(page: Path) -> None:
    for block in blocks(page):
        place = f"{page_id(page)}:{block.line}"
        if block.language == "python":
            compile(block.text, place, "exec")
        elif block.language == "toml":
            tomllib.loads(block.text)


def test_the_readme_starts_with_the_two_commands() -> None:
    first = next(block for block in blocks(ROOT / "README.md") if block.language == "console")
    commands = [line.split("#")[0].strip() for line in first.text.splitlines()]
    assert commands[:2] == ["$ uv run astrid demo", "$ uv run pytest"]


def test_the_tools_shown_outside_the_docs_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for number, page in enumerate((ROOT / "README.md", ROOT / "plugins/astrid-sdk/README.md")):
        shown = next(block.text for block in blocks(page) if "@tool" in block.text)
        (tmp_path / f"shown_tool_{number}.py").write_text(shown)
        harness = CapsuleHarness(importlib.import_module(f"shown_tool_{number}"), manifest={})

        result = harness.call_tool("remember", {"topic": "tea", "fact": "3 minutes"})

        assert (result.content, result.is_error) == ("noted: tea", False)
        assert b"3 minutes" in harness.kv["tea"]


def test_every_command_line_in_the_pages_exists() -> None:
    """Names and options of `astrid` commands, in whatever block they stand."""
    unknown: list[str] = []
    for page in pages():
        for block in blocks(page):
            if block.language not in {"console", "sh"}:
                continue
            whole = block.text.replace("\\\n", " ")
            lines = [line.removeprefix("$ ") for line in whole.splitlines()]
            unknown += [
                f"{page_id(page)}: {line}"
                for line in lines
                if line.startswith(("astrid ", "uv run astrid ")) and not _is_known(line)
            ]
    assert unknown == []


def _is_known(line: str) -> bool:
    words = shlex.split(line.removeprefix("uv run "), comments=True)
    if "--" in words:  # what follows is another program's
        words = words[: words.index("--")]
    if words[1:2] == ["--principal"]:  # the one option that may stand before the command
        del words[1:3]
    names = [word for word in words if not word.startswith("-")]
    flags = {word.split("=")[0] for word in words if word.startswith("--") and word != "--"}
    if len(names) == 1:
        return flags <= {"--version", "--help"}
    return any(
        names[: len(leaf["command"].split())] == leaf["command"].split()
        and flags <= {*leaf["flags"], "--help"}
        for leaf in read_leaves()
    )


class TestTheReader:
    @pytest.mark.parametrize(
        ("expected", "printed", "missing"),
        [
            ("", "anything", None),
            ("b", "a\nb\nc", None),
            ("a\nc", "a\nb\nc", "c"),
            ("a\n...\nc", "a\nb\nc", None),
            ("a…z", "abc xyz", None),
            ("a…z", "abc xyz!", "a…z"),
            ("a\nb", "b\na", "b"),
            ("a", "", "a"),
        ],
    )
    def test_compares_line_by_line(self, expected: str, printed: str, missing: str | None) -> None:
        assert first_difference(expected, printed) == missing

    def test_splits_commands_and_what_they_print(self) -> None:
        text = "$ one   # why\nout\n$ two \\\n  --more\nout 2\n"

        assert split_commands(text) == [("one", "out\n"), ("two \\\n  --more", "out 2\n")]

    def test_fails_when_a_command_prints_something_else(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("```console\n$ echo yes\nno\n```\n")

        with pytest.raises(AssertionError, match="not as the page says: no"):
            Reader(tmp_path / "home").follow(page)

    @pytest.mark.slow
    def test_says_where_a_program_hangs(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("```python\nimport time\nprint(1, flush=True)\ntime.sleep(60)\n```\n")

        with pytest.raises(pytest.fail.Exception, match=r"(?s)in 2 s:\n1\n.*line 3 in <module>"):
            Reader(tmp_path / "home", timeout_s=2).follow(page)

    def test_fails_when_a_command_fails_unannounced(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("```console\n$ false\n```\n")

        with pytest.raises(AssertionError, match="exit status 1"):
            Reader(tmp_path / "home").follow(page)

    def test_keeps_away_from_the_home_of_whoever_runs_the_tests(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("```console\n$ echo ~ $ASTRID_HOME; pwd\n~ ~/.astrid\n~\n```\n")

        assert Reader(tmp_path / "home").follow(page) == 1

    def test_runs_programs_with_the_python_of_the_tests(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("```python\nimport sys\nprint(sys.prefix)\n```\n\n```text\n…\n```\n")
        expected = subprocess.run(
            [sys.executable, "-c", "import sys; print(sys.prefix)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert expected.strip()

        assert Reader(tmp_path / "home").follow(page) == 1
