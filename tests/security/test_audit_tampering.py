"""What somebody with write access to the audit log can do to it, and what verification says then.

Each log is a real one, written by the kernel's own log: several segments, several batches, a
checkpoint, two principals.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from astrid_core.domain.audit_commit import sign_heads
from astrid_core.domain.audit_entry import ChainId
from astrid_core.domain.audit_segment import Condition
from astrid_core.kernel.audit.export import verify_export
from astrid_core.kernel.audit.log import AuditLog
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries, verify_log
from astrid_core.kernel.audit.retention import Retention
from astrid_hookspecs.errors import AuditError, ChainBrokenError
from astrid_hookspecs.values import Principal
from tests.support.audit_chains import KEY, OTHER_KEY, entry

ENTRIES: Final = 400
SMALL: Final = Retention(max_bytes=2 * 1024 * 1024)
"""Segments of 64 KiB."""

Attack = Callable[[Path, list[Path]], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audit")
    log = AuditLog(AuditPlaces(root), key=KEY, retention=SMALL)
    for number in range(ENTRIES):
        log.append(entry(number, resource="workspace://" + "f" * 200))
    log.append(entry(1, principal=Principal("bob")))
    log.close()
    return root


@pytest.fixture
def places(whole: Path, tmp_path: Path) -> AuditPlaces:
    shutil.copytree(whole, tmp_path / "audit")
    return AuditPlaces(tmp_path / "audit")


def ada(places: AuditPlaces) -> ChainId:
    return next(chain for chain in places.chains() if chain.principal == "ada")


def segments(places: AuditPlaces) -> list[Path]:
    chain = ada(places)
    return [places.segment(chain, first) for first in places.segments(chain)]


def files(places: AuditPlaces) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in places.root.rglob("*") if path.is_file()}


def conditions(places: AuditPlaces) -> dict[str, Condition]:
    found = verify_log(places, keys=[KEY.public])
    return {str(verdict.chain.principal): verdict.condition for verdict in found}


def change(path: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


def flip(lines: list[bytes]) -> list[bytes]:
    # Not every line is an entry: where signatures fall depends on how fast the log was written.
    at = next(number for number, line in enumerate(lines) if b"allowed" in line)
    return [*lines[:at], lines[at].replace(b"allowed", b"deniedd"), *lines[at + 1 :]]


def swap(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[6], lines[5], lines[4], *lines[7:]]


def exchange(_: Path, files: list[Path]) -> None:
    first, second = files[0].read_bytes(), files[1].read_bytes()
    files[0].write_bytes(second)
    files[1].write_bytes(first)


def resign(root: Path, files: list[Path]) -> None:
    """The same entries in a log that somebody signs with a key of their own."""
    places = AuditPlaces(root)
    directory = files[0].parent
    before = list(entries(places, Query(principal="ada")))
    shutil.rmtree(directory)
    other = AuditPlaces(root.with_name("forged"))
    other.root.mkdir()
    log = AuditLog(other, key=OTHER_KEY, retention=SMALL)
    for number in range(len(before)):
        log.append(entry(number))
    log.close()
    shutil.copytree(other.directory(ada(other)), directory)


ATTACKS: Final[dict[str, tuple[Attack, Condition]]] = {
    "change a field": (lambda _, files: change(files[1], flip), Condition.TAMPERED),
    "remove a line": (
        lambda _, files: change(files[1], lambda lines: [*lines[:4], *lines[6:]]),
        Condition.TAMPERED,
    ),
    "swap lines": (lambda _, files: change(files[1], swap), Condition.REORDERED),
    "swap files": (exchange, Condition.REORDERED),
    "remove the last lines": (
        lambda _, files: change(files[-1], lambda lines: lines[:-6]),
        Condition.TRUNCATED,
    ),
    "remove the last file": (lambda _, files: files[-1].unlink(), Condition.TRUNCATED),
    "remove the first file": (lambda _, files: files[0].unlink(), Condition.TAMPERED),
    "remove the whole chain": (
        lambda _, files: shutil.rmtree(files[0].parent.parent),
        Condition.TRUNCATED,
    ),
    "sign with another key": (resign, Condition.RESIGNED),
    "append a line": (
        lambda _, files: change(files[-1], lambda lines: [*lines, lines[0]]),
        Condition.TAMPERED,
    ),
}


def test_what_the_log_wrote_is_intact(places: AuditPlaces) -> None:
    assert len(segments(places)) > 2
    assert conditions(places) == {"ada": Condition.INTACT, "bob": Condition.INTACT}


@pytest.mark.parametrize("name", ATTACKS)
def test_damage_is_named_for_its_chain_alone(places: AuditPlaces, name: str) -> None:
    attack, expected = ATTACKS[name]
    attack(places.root, segments(places))
    assert conditions(places) == {"ada": expected, "bob": Condition.INTACT}


def test_a_lost_checkpoint_is_told(places: AuditPlaces) -> None:
    places.checkpoint.unlink()
    assert Condition.TRUNCATED in conditions(places).values()


@pytest.mark.parametrize(
    "attack",
    [
        lambda _, files: change(files[-1], flip),
        ATTACKS["remove the last file"][0],
        ATTACKS["sign with another key"][0],
    ],
)
def test_a_kernel_starts_beside_damage_and_leaves_it_as_it_is(
    places: AuditPlaces, attack: Attack
) -> None:
    attack(places.root, segments(places))
    expected = conditions(places)["ada"]
    before = {path: path.read_bytes() for path in segments(places)}
    log = AuditLog(places, key=KEY, retention=SMALL)
    log.append(entry(1))
    log.close()
    after = {path: path.read_bytes() for path in segments(places)}
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 1, "it goes on in a new file"
    assert conditions(places)["ada"] is expected


def test_an_export_that_somebody_emptied_and_signed_is_not_believed(tmp_path: Path) -> None:
    target = tmp_path / "audit.jsonl"
    now = "2026-03-01T10:00:00.000Z"
    target.write_bytes(sign_heads(OTHER_KEY, [], purpose="export", taken=now) + b"\n")
    (verdict,) = verify_export(target, keys=[KEY.public])
    assert verdict.condition is Condition.RESIGNED
    target.write_bytes(sign_heads(KEY, [], purpose="checkpoint", taken=now) + b"\n")
    (verdict,) = verify_export(target, keys=[KEY.public])
    assert verdict.findings[0].rule == "heads-malformed", "a checkpoint is no export"


def test_a_strict_kernel_does_not_start_on_damage(places: AuditPlaces) -> None:
    last = segments(places)[-1]
    change(last, flip)
    before = files(places)
    for _ in range(2):
        with pytest.raises(ChainBrokenError, match="tampered"):
            AuditLog(places, key=KEY, strict=True)
    assert files(places) == before


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"{}")])
def test_a_lost_checkpoint_stops_a_strict_kernel_every_time_and_stays_on_record(
    places: AuditPlaces, spoil: Callable[[Path], object]
) -> None:
    spoil(places.checkpoint)
    before = files(places)
    for _ in range(2):
        with pytest.raises(ChainBrokenError, match=r"\((checkpoint|heads)-"):
            AuditLog(places, key=KEY, strict=True)
    assert files(places) == before
    log = AuditLog(places, key=KEY, retention=SMALL)
    assert len(log.problems) == 1
    log.close()
    assert set(conditions(places).values()) == {Condition.INTACT}
    (lost,) = entries(places, Query(action="audit.checkpoint"))
    assert lost["severity"] == "high"


def test_what_is_no_file_of_the_log_is_reported_and_stops_nothing(places: AuditPlaces) -> None:
    last = segments(places)[-1]
    last.rename(last.with_suffix(".away"))
    last.symlink_to(last.with_suffix(".away"))
    assert conditions(places) == {"ada": Condition.TAMPERED, "bob": Condition.INTACT}
    log = AuditLog(places, key=KEY, retention=SMALL)
    log.append(entry(1))
    log.close()
    assert ["segment-unreadable" in str(problem) for problem in log.problems] == [True]
    assert last.is_symlink()
    last.unlink()
    os.mkfifo(last)
    assert conditions(places)["ada"] is Condition.TAMPERED


def test_an_older_copy_of_a_file_is_truncation(places: AuditPlaces) -> None:
    (only,) = (places.root / "bob").rglob("*.jsonl")
    older = only.read_bytes()
    log = AuditLog(places, key=KEY, retention=SMALL)
    log.append(entry(2, principal=Principal("bob")))
    log.close()
    assert len(only.read_bytes()) > len(older)
    only.write_bytes(older)
    assert conditions(places) == {"ada": Condition.INTACT, "bob": Condition.TRUNCATED}


def test_new_numbers_are_behind_all_that_damage_may_hold(places: AuditPlaces) -> None:
    (last,) = segments(places)[-1:]
    highest = max(row["seq"] for row in entries(places, Query(principal="ada")))
    places.checkpoint.unlink()
    change(last, lambda lines: [lines[0].replace(b"allowed", b"denied"), *lines[1:]])
    log = AuditLog(places, key=KEY, retention=SMALL)
    log.append(entry(1))
    log.close()
    assert places.segments(ada(places))[-1] > highest


def test_a_torn_tail_is_cut_off_and_that_is_recorded(places: AuditPlaces) -> None:
    last = segments(places)[-1]
    whole = last.read_bytes()
    last.write_bytes(whole + whole.splitlines(keepends=True)[-2][:50])
    assert conditions(places)["ada"] is Condition.TORN
    log = AuditLog(places, key=KEY, retention=SMALL, strict=True)
    log.append(entry(1))
    log.close()
    assert conditions(places)["ada"] is Condition.INTACT
    recorded = [row["action"]["type"] for row in entries(places, Query(principal="ada"))]
    assert "audit.repaired" in recorded[-2:]


def test_a_device_or_a_pipe_is_no_export_and_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(AuditError, match="is not a regular file"):
            verify_export(path, keys=[KEY.public])
