"""Entries acknowledged and not signed yet: a killed kernel loses none, and nobody adds any."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from astrid_core.domain.audit_commit import NO_BOOT
from astrid_core.domain.audit_entry import ChainId, Link, entry_line, seal_entry
from astrid_core.domain.audit_segment import Condition
from astrid_core.kernel.audit import tail_seal
from astrid_core.kernel.audit.chain_writer import ChainWriter
from astrid_core.kernel.audit.inspect import verify_chain
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_hookspecs.errors import AuditError
from tests.support.audit_chains import KEY, OTHER_KEY, entry

ADA = ChainId("ada")


@pytest.fixture
def places(tmp_path: Path) -> AuditPlaces:
    root = tmp_path / "audit"
    root.mkdir()
    return AuditPlaces(root)


def chain_writer(places: AuditPlaces, chain: ChainId = ADA) -> ChainWriter:
    return ChainWriter(
        places,
        chain,
        key=KEY,
        segment_bytes=1 << 20,
        head=None,
        now=lambda: "2026-03-01T10:00:00.000Z",
        written=lambda _entries: None,
        unsigned=threading.Event(),
    )


def killed_after(places: AuditPlaces, *, signed: int, sealed: int) -> ChainWriter:
    """A chain as a kernel leaves it that was killed before the next signature."""
    writer = chain_writer(places)
    for number in range(signed):
        writer.append(entry(number))
    writer.sign()
    for number in range(sealed):
        writer.append(entry(signed + number))
    return writer


def verdict(places: AuditPlaces) -> tuple[Condition, int, int]:
    found = verify_chain(places, ADA, keys=[KEY.public], head=None, own=KEY)
    return found.condition, found.entries, found.unsigned


def actions(places: AuditPlaces) -> list[str]:
    return [row["action"]["type"] for row in entries(places, Query(principal="ada"))]


@pytest.mark.parametrize("signed", [0, 3])
def test_what_was_acknowledged_is_kept_and_signed_by_the_next_kernel(
    places: AuditPlaces, signed: int
) -> None:
    killed_after(places, signed=signed, sealed=2)
    assert verdict(places) == (Condition.INTACT, signed + 2, 2)
    anybody = verify_chain(places, ADA, keys=[KEY.public], head=None)
    assert (anybody.condition, anybody.entries) == (Condition.TORN, signed)

    writer = chain_writer(places)
    assert writer.append(entry(9)) == signed + 3
    writer.close()
    assert verdict(places) == (Condition.INTACT, signed + 3, 0)
    assert actions(places) == ["fs.write-file"] * (signed + 3)


def test_a_line_that_somebody_appended_is_cut_off(places: AuditPlaces) -> None:
    writer = killed_after(places, signed=1, sealed=2)
    tip = writer.look().head
    assert tip is not None
    link = Link(tip.seq + 1, bytes.fromhex(tip.hash))  # all that a hash needs is public
    forged = seal_entry(entry(7), link=link, entry_id=bytes(16), key=KEY.public)
    (segment,) = places.root.rglob("*.jsonl")
    with segment.open("ab") as file:
        file.write(entry_line(forged))
    assert verdict(places) == (Condition.TORN, 3, 2)
    after = chain_writer(places)
    after.append(entry(9))
    after.close()
    assert actions(places) == [*["fs.write-file"] * 3, "audit.repaired", "fs.write-file"]


def test_a_seal_of_another_key_or_chain_is_none(places: AuditPlaces) -> None:
    writer = killed_after(places, signed=1, sealed=2)
    tip = writer.look().head
    assert tip is not None
    seq, digest = tip.seq, bytes.fromhex(tip.hash)
    seals = [
        OTHER_KEY.seal(ADA.to_bytes(), seq=seq, digest=digest),
        KEY.seal(ChainId("bob").to_bytes(), seq=seq, digest=digest),
        KEY.seal(ADA.to_bytes(), seq=seq, digest=digest)[:-1],
        b"",
    ]
    for seal in seals:
        places.seal(ADA).write_bytes(seal)
        assert verdict(places) == (Condition.TORN, 1, 0)
    places.seal(ADA).unlink()
    places.seal(ADA).symlink_to("/dev/zero")
    assert verdict(places) == (Condition.TORN, 1, 0)


def cut_last_line(places: AuditPlaces) -> None:
    """Take the last entry away, as somebody does who can write to the file."""
    (segment,) = places.root.rglob("*.jsonl")
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(("signed", "sealed"), [(0, 1), (0, 3), (2, 1), (2, 3)])
def test_an_entry_taken_away_before_it_was_signed_is_missed_and_stays_so(
    places: AuditPlaces, signed: int, sealed: int
) -> None:
    killed_after(places, signed=signed, sealed=sealed)
    cut_last_line(places)
    assert verdict(places)[0] is Condition.TRUNCATED

    writer = chain_writer(places)
    assert writer.append(entry(9)) > signed + sealed  # no number is given twice
    writer.close()
    assert verdict(places)[0] in {Condition.TRUNCATED, Condition.TAMPERED}
    assert "audit.resumed" in actions(places)
    assert verdict(places)[0] is not Condition.INTACT


def test_a_seal_that_a_power_failure_left_ahead_of_its_entry_tells_nothing(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(places, signed=2, sealed=2)
    cut_last_line(places)
    for boot in (b"\7" * 16, NO_BOOT):
        monkeypatch.setattr(tail_seal, "boot_mark", lambda mark=boot: mark)
        assert verdict(places) == (Condition.TORN, 2, 0)


def test_a_seal_without_a_known_boot_tells_nothing(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_seal, "boot_mark", lambda: NO_BOOT)
    killed_after(places, signed=2, sealed=2)
    assert verdict(places) == (Condition.INTACT, 4, 2)
    cut_last_line(places)
    assert verdict(places) == (Condition.TORN, 2, 0)


def test_a_write_that_was_taken_back_does_not_look_like_somebodys_hand(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = killed_after(places, signed=2, sealed=0)
    whole = os.pwrite

    def written_and_refused(*arguments: Any) -> int:
        whole(*arguments)
        raise OSError("the disk says no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", written_and_refused)
        with pytest.raises(AuditError):
            writer.append(entry(5))
    assert verdict(places) == (Condition.INTACT, 2, 0)


def test_a_changed_entry_is_tampering_sealed_or_not(places: AuditPlaces) -> None:
    killed_after(places, signed=1, sealed=2)
    (segment,) = places.root.rglob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b'"allowed"', b'"failed" ')
    segment.write_bytes(b"".join(lines))
    assert verdict(places)[0] is Condition.TAMPERED


def test_an_entry_refused_when_its_seal_cannot_be_written(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = killed_after(places, signed=1, sealed=1)
    (segment,) = places.root.rglob("*.jsonl")
    before = segment.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_arguments: 3)
        with pytest.raises(AuditError, match="was not recorded"):
            writer.append(entry(5))
    assert segment.read_bytes() == before
    assert writer.append(entry(6)) == 3
    assert verdict(places) == (Condition.INTACT, 3, 2)
