"""What the pages tell their readers to do works, and prints what the pages say."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.docs.markdown import DOCS, ROOT, blocks, page_id, pages
from tests.docs.reader import Reader, first_difference, split_commands


@pytest.mark.slow
def test_the_tutorial_works(graduate: Reader) -> None:
    assert (graduate.home / ".astrid/home/default/.local/capsules/weather").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "at_least"),
    [
        ("embedding.md", 6),
        ("writing-capsules.md", 8),
        ("capsule-manifest.md", 1),
        ("troubleshooting.md", 4),
    ],
)
def test_the_examples_of_a_page_work(graduate: Reader, page: str, at_least: int) -> None:
    assert graduate.follow(DOCS / page) >= at_least


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


def test_every_command_line_in_the_pages_exists() -> None:
    """Names and options of `astrid` commands, in whatever block they stand."""
    unknown: list[str] = []
    for page in pages():
        for block in blocks(page):
            if block.language not in {"console", "sh"}:
                continue
            lines = [line.removeprefix("$ ") for line in block.text.splitlines()]
            unknown += [
                f"{page_id(page)}: {line}"
                for line in lines
                if line.startswith(("astrid ", "uv run astrid ")) and not _is_known(line)
            ]
    assert unknown == []


def _is_known(line: str) -> bool:
    words = line.removeprefix("uv run ").split()
    return any(
        words[: len(leaf["command"].split())] == leaf["command"].split()
        and {word.split("=")[0] for word in words if word.startswith("--") and word != "--"}
        <= {*leaf["flags"], "--help"}
        for leaf in _leaves()
    ) or words[1:2] in (["--version"], ["--help"])


def _leaves() -> list[dict[str, list[str]]]:
    from tests.docs.cli_reference import read_leaves  # noqa: PLC0415 - shared with the reference

    return read_leaves()


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
    def test_compares_line_by_line(
        self, expected: str, printed: str, missing: str | None
    ) -> None:
        assert first_difference(expected, printed) == missing

    def test_splits_commands_and_what_they_print(self) -> None:
        text = "$ one   # why\nout\n$ two \\\n  --more\nout 2\n"

        assert split_commands(text) == [("one", "out\n"), ("two \\\n  --more", "out 2\n")]

    def test_fails_when_a_command_prints_something_else(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("```console\n$ echo yes\nno\n```\n")

        with pytest.raises(AssertionError, match="not as the page says: no"):
            Reader(tmp_path / "home").follow(page)

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
