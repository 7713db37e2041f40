"""Reading logs: the latest lines, damaged ones, rotation, and nothing but regular files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from astrid_core.kernel import log_reader
from astrid_core.kernel.log_reader import LogLine, capsule_log, daemon_log
from astrid_hookspecs.values import Principal

ADA = Principal("ada")


def everything(_line: LogLine) -> bool:
    return True


def line(number: int, *, level: str = "info", **more: object) -> str:
    fields = {
        "ts": f"2026-05-01T12:00:{number % 60:02}.000+02:00",
        "level": level,
        "message": f"m{number}",
        "principal": None,
        "where": "astrid_core.daemon.main",
        **more,
    }
    return json.dumps(fields) + "\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path


def messages(home: Path, limit: int = 100) -> list[str]:
    return [found.message for found in daemon_log(home).latest(limit, keep=everything)]


def test_nothing_there_is_no_line(tmp_path: Path) -> None:
    assert messages(tmp_path) == []


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 16])
def test_the_latest_lines_oldest_first_over_files(
    home: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(log_reader, "_BLOCK", block)
    old, new = home / "log/daemon.2026-05-01.log", home / "log/daemon.log"
    old.write_text("".join(map(line, range(5))))
    new.write_text("".join(map(line, range(5, 8))))
    os.utime(old, (1, 1))
    assert messages(home) == [f"m{number}" for number in range(8)]
    assert messages(home, 4) == ["m4", "m5", "m6", "m7"]
    assert messages(home, 2) == ["m6", "m7"]


def test_a_line_is_what_it_says(home: Path) -> None:
    (home / "log/daemon.log").write_text(
        line(1, level="warn", principal="ada", error="Trace\nback") + line(2, level="loud")
    )
    first, second = daemon_log(home).latest(9, keep=everything)
    assert first == LogLine(
        "2026-05-01T10:00:01.000Z", "warning", "m1\nTrace\nback", "ada", "astrid_core.daemon.main"
    )
    assert first.is_at_least("warning")
    assert not first.is_at_least("error")
    assert second.level == "info"


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"ts": 1}', '{"ts": "x"}', "[" * 9999])
def test_a_damaged_line_is_shown_as_it_is(home: Path, text: str) -> None:
    (home / "log/daemon.log").write_text(text + "\n")
    (found,) = daemon_log(home).latest(9, keep=everything)
    assert (found.ts, found.message) == ("", text)


def test_filters_count_only_what_they_keep(home: Path) -> None:
    (home / "log/daemon.log").write_text("".join(map(line, range(50))))
    kept = daemon_log(home).latest(2, keep=lambda found: found.message.endswith("3"))
    assert [found.message for found in kept] == ["m33", "m43"]


def test_links_and_other_things_with_the_name_of_a_log_are_not_read(home: Path) -> None:
    secret = home / "secret"
    secret.write_text(line(1))
    (home / "log/daemon.log").symlink_to(secret)
    (home / "log/daemon.1.log").mkdir()
    os.mkfifo(home / "log/daemon.2.log")
    (home / "log/other.log").write_text(line(2))
    assert messages(home) == []
    assert list(daemon_log(home).follow().new_lines()) == []


def test_following_gives_whole_lines_once_and_goes_on_in_the_next_file(home: Path) -> None:
    current = home / "log/daemon.log"
    current.write_text(line(0))
    follower = daemon_log(home).follow()

    def new() -> list[str]:
        return [found.message for found in follower.new_lines()]

    assert new() == []
    with current.open("a") as file:
        file.write(line(1) + line(2)[:10])
    assert new() == ["m1"]
    with current.open("a") as file:
        file.write(line(2)[10:] + line(3))
    current.rename(home / "log/daemon.2026-05-01.log")
    current.write_text(line(4))
    assert new() == ["m2", "m3", "m4"]
    assert new() == []
    current.write_text("")  # as a file whose number was used before
    current.write_text(line(5)[:-1] + " \n")
    assert len(new()) <= 1


def test_a_follower_begins_again_in_a_file_that_is_shorter_than_before(home: Path) -> None:
    current = home / "log/daemon.log"
    current.write_text(line(0) * 5)
    follower = daemon_log(home).follow()
    with current.open("r+") as file:
        file.truncate(0)
        file.write(line(7))
    assert [found.message for found in follower.new_lines()] == ["m7"]


def test_lines_of_capsules(tmp_path: Path) -> None:
    directory = tmp_path / "weather"
    directory.mkdir()
    (directory / "2026-05-01.log").write_text(
        "1777636800.123 WARN [weather] it rains\nnot a line\n"
        "999999999999.000 INFO [weather] far away\n"
    )
    (directory / "notes.log").write_text("1777636800.123 WARN [weather] elsewhere\n")
    found = capsule_log(directory, principal=ADA).latest(9, keep=everything)
    assert found == [
        LogLine("2026-05-01T12:00:00.123Z", "warning", "it rains", "ada", "weather"),
        LogLine("", "info", "not a line", "ada", "capsule"),
        LogLine("", "info", "999999999999.000 INFO [weather] far away", "ada", "weather"),
    ]
