"""Log files of capsules: where lines go, and how much a guest can write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.kernel import logs
from astrid_core.kernel.logs import FULL, CapsuleLogs
from astrid_hookspecs.values import CapsuleId, Principal

ALICE, BOB = Principal("alice"), Principal("bob")
C = CapsuleId("c")
DAY_S = 86_400


class Clock:
    def __init__(self) -> None:
        self.time = 20_000.0 * DAY_S

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def monotonic_ns(self) -> int:
        return int(self.time * 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def written(tmp_path: Path, clock: Clock) -> Iterator[CapsuleLogs]:
    (tmp_path / "alice").mkdir()
    found = CapsuleLogs(tmp_path, clock=clock)
    yield found
    found.close()


def files(home: Path, principal: Principal = ALICE) -> list[Path]:
    return sorted((home / principal / ".local" / "log" / C).glob("*"))


def test_a_line_goes_to_the_principal_it_concerns(written: CapsuleLogs, tmp_path: Path) -> None:
    written.write(ALICE, C, "info", "hello")
    (file,) = files(tmp_path)
    assert file.name == "2024-10-04.log"
    assert file.read_text() == "1728000000.000 INFO [c] hello\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_for_a_principal_without_a_home(
    written: CapsuleLogs, tmp_path: Path
) -> None:
    written.write(BOB, C, "info", "hello")
    assert not (tmp_path / "bob").exists()
    assert files(tmp_path) == []


def test_a_guest_cannot_fill_the_disk(
    written: CapsuleLogs, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_DAY_BYTES", 1000)
    for _ in range(200):
        written.write(ALICE, C, "info", "x" * 100)
    (file,) = files(tmp_path)
    assert file.stat().st_size < 1100
    assert file.read_text().splitlines()[-1].endswith(FULL)
    assert file.read_text().count(FULL) == 1
    clock.time += DAY_S
    written.write(ALICE, C, "info", "a new day")
    assert files(tmp_path)[-1].read_text().endswith("a new day\n")


def test_what_was_written_before_a_restart_counts(
    written: CapsuleLogs, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_DAY_BYTES", 1000)
    written.write(ALICE, C, "info", "x" * 900)
    again = CapsuleLogs(tmp_path, clock=clock)
    for _ in range(20):
        again.write(ALICE, C, "info", "y" * 100)
    again.close()
    (file,) = files(tmp_path)
    assert file.stat().st_size < 1100


def test_files_of_last_week_go_when_a_new_one_is_opened(
    written: CapsuleLogs, tmp_path: Path, clock: Clock
) -> None:
    written.write(ALICE, C, "info", "old")
    (old,) = files(tmp_path)
    os.utime(old, (clock.time, clock.time))
    keep = old.with_name("notes.txt")
    keep.write_text("not a log")
    os.utime(keep, (0, 0))
    clock.time += 8 * DAY_S
    written.write(ALICE, C, "info", "new")
    assert not old.exists()
    assert keep.exists()
    assert len(files(tmp_path)) == 2


def test_a_link_in_the_place_of_a_log_is_not_followed(written: CapsuleLogs, tmp_path: Path) -> None:
    directory = tmp_path / "alice" / ".local" / "log" / C
    directory.mkdir(parents=True)
    target = tmp_path / "target"
    target.write_text("")
    (directory / "2024-10-04.log").symlink_to(target)
    written.write(ALICE, C, "info", "hello")
    assert target.read_text() == ""
