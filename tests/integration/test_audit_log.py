"""The audit log as a kernel uses it: killed processes, full disks, bounds, floods, copies."""

from __future__ import annotations

import errno
import os
import re
import resource
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from astrid_core.domain.audit_entry import ChainId
from astrid_core.domain.audit_segment import Condition
from astrid_core.kernel.audit import log as log_module
from astrid_core.kernel.audit import tail_seal
from astrid_core.kernel.audit.chain_writer import ChainWriter
from astrid_core.kernel.audit.checkpoint import write_checkpoint
from astrid_core.kernel.audit.denials import MAX_SINGLE, WINDOW_S, DenialRecorder
from astrid_core.kernel.audit.log import AuditLog
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, Row, entries, verify_log
from astrid_core.kernel.audit.retention import OldSegment, Retention
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.audit_chains import KEY, entry

ROUNDS: Final = int(os.environ.get("ASTRID_AUDIT_KILLS", "10"))
MOST_WAIT_S: Final = 0.03
SEGMENT_BYTES: Final = 64 * 1024
SMALL: Final = Retention(max_bytes=32 * SEGMENT_BYTES)

WRITER: Final = """
import os, resource, sys
from pathlib import Path
from astrid_core.kernel.audit.log import AuditLog
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_hookspecs.errors import AuditError
from tests.support.audit_chains import KEY, entry

log = AuditLog(AuditPlaces(Path(sys.argv[1])), key=KEY)
first, most_bytes = int(sys.argv[2]), int(sys.argv[3])
if most_bytes:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
try:
    for number in range(first, first + 20000):
        log.append(entry(number))
        os.write(1, b"%d\\n" % number)
except AuditError as error:
    os.write(2, f"{error.code}: {error}".encode())
    os._exit(3)
"""


@pytest.fixture
def places(tmp_path: Path) -> AuditPlaces:
    (tmp_path / "audit").mkdir(mode=0o700)
    return AuditPlaces(tmp_path / "audit")


@contextmanager
def opened(places: AuditPlaces, retention: Retention = SMALL) -> Iterator[AuditLog]:
    log = AuditLog(places, key=KEY, retention=retention)
    try:
        yield log
    finally:
        log.close()


def writer(places: AuditPlaces, first: int, *, most_bytes: int = 0) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(places.root), str(first), str(most_bytes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def conditions(places: AuditPlaces) -> set[Condition]:
    return {verdict.condition for verdict in verify_log(places, keys=[KEY.public])}


def rows(places: AuditPlaces, action: str) -> list[Row]:
    return list(entries(places, Query(action=action)))


@pytest.mark.slow
def test_what_was_acknowledged_before_a_kill_is_there(places: AuditPlaces) -> None:
    acknowledged = 0
    for turn in range(ROUNDS):
        with writer(places, acknowledged + 1) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(MOST_WAIT_S * turn / ROUNDS)
            process.kill()
            said = process.stdout.read().split()[-1:]
        acknowledged = int(said[0]) if said and said[0].isdigit() else acknowledged + 1
        assert conditions(places) <= {Condition.INTACT, Condition.TORN}
        written = [row["action"]["path"] for row in rows(places, "fs.write-file")]
        assert f"f{acknowledged}" in written
    with opened(places) as log:
        assert log.problems == [], "a crash is no damage"
        log.append(entry(1))
    assert conditions(places) == {Condition.INTACT}


def test_what_cannot_be_written_is_refused_and_the_log_stays_whole(places: AuditPlaces) -> None:
    with writer(places, 1, most_bytes=SEGMENT_BYTES) as process:
        out, problem = process.communicate(timeout=60)
    assert process.returncode == 3, problem
    assert b"audit" in problem
    acknowledged = len(out.split())
    assert acknowledged > 10
    assert len(rows(places, "fs.write-file")) == acknowledged, "nothing refused was recorded"
    with opened(places) as log:
        log.append(entry(1))
    assert conditions(places) == {Condition.INTACT}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_refuses_until_there_is_room(small_disk: Path) -> None:
    places = AuditPlaces(small_disk / "audit")
    places.root.mkdir(mode=0o700)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(100 * 1024))
    with opened(places) as log:
        acknowledged = until_refused(log)
        assert acknowledged > 10
        with pytest.raises(AuditError, match="No space left"):
            log.append(entry(0))
        written = [row["action"]["path"] for row in rows(places, "fs.write-file")]
        assert written == [f"f{number}" for number in range(acknowledged)]
        ballast.unlink()
        log.append(entry(0))
    assert conditions(places) == {Condition.INTACT}


def until_refused(log: AuditLog) -> int:
    for number in range(10_000):
        try:
            log.append(entry(number))
        except AuditError:
            return number
    pytest.fail("the disk is never full")


def test_threads_that_append_together_share_batches_and_lose_nothing(places: AuditPlaces) -> None:
    with opened(places) as log, ThreadPoolExecutor(8) as pool:

        def several(worker: int) -> None:
            for number in range(100):
                name = f"{worker}-{number}"
                log.append(entry(1, detail={"path": name}), durable=number % 25 == 0)

        list(pool.map(several, range(8)))
    assert conditions(places) == {Condition.INTACT}
    names = [row["action"]["path"] for row in rows(places, "fs.write-file")]
    assert sorted(names) == sorted(f"{w}-{n}" for w in range(8) for n in range(100))
    for worker in range(8):  # and each thread's entries are in its own order
        own = [int(name.split("-")[1]) for name in names if name.startswith(f"{worker}-")]
        assert own == sorted(own)


def test_one_entry_that_may_not_be_recorded_fails_alone(places: AuditPlaces) -> None:
    with opened(places) as log:
        with pytest.raises(AuditError, match="must not record 'secret'"):
            log.append(entry(1, detail={"secret": "x"}))
        log.append(entry(2))
    assert len(rows(places, "fs.write-file")) == 1


@pytest.mark.slow
def test_every_torn_tail_is_repaired_and_costs_nothing_that_was_committed(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(places) as log:
        for number in range(2):
            log.append(entry(number))
    (segment,) = places.root.rglob("*.jsonl")
    whole = segment.read_bytes()
    commits = [match.end() for match in re.finditer(rb'\{"commit":.*\n', whole)]
    write_checkpoint(places, {}, key=KEY, taken="2026-03-01T10:00:00.000Z")  # as after a kill
    for end in range(1, len(whole)):
        segment.write_bytes(whole[:end])
        boot = uuid.uuid4().bytes  # a power failure: within one boot no seal is ahead of its log
        monkeypatch.setattr(tail_seal, "boot_mark", lambda boot=boot: boot)
        writer = chain_writer(places)
        writer.append(entry(9))
        writer.close()
        assert conditions(places) == {Condition.INTACT}, end
        actions = [row["action"]["type"] for row in entries(places, Query(principal="ada"))]
        committed = ["fs.write-file"] * sum(at <= end for at in commits)
        repaired = [] if end in commits else ["audit.repaired"]
        assert actions == [*committed, *repaired, "fs.write-file"], end
        for path in places.root.rglob("*.jsonl"):
            path.unlink()


def chain_writer(places: AuditPlaces) -> ChainWriter:
    return ChainWriter(
        places,
        ChainId("ada"),
        key=KEY,
        segment_bytes=SEGMENT_BYTES,
        head=None,
        now=lambda: "2026-03-01T10:00:00.000Z",
        written=lambda _entries: None,
        unsigned=threading.Event(),
    )


def test_what_could_not_be_made_durable_stops_the_chain_until_a_new_start(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    writer = chain_writer(places)
    writer.append(entry(1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(AuditError, match="disk is broken"):
            writer.sync(1)
    with pytest.raises(AuditError, match="could not make durable"):
        writer.sync(1)
    with pytest.raises(AuditError, match="could not make durable"):
        writer.append(entry(2))
    again = chain_writer(places)
    assert again.append(entry(2)) == 2
    again.close()
    writer.park()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the files of descriptors in /proc")
def test_a_chain_that_cannot_be_made_durable_does_not_keep_others_from_it(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()

    def broken_for_ada(descriptor: int) -> None:
        file = Path(f"/proc/self/fd/{descriptor}").readlink()
        owner = file.relative_to(places.root).parts[0]
        if owner == "ada":
            raise OSError(errno.EIO, "the disk is broken")
        synced.add(owner)

    monkeypatch.setattr(log_module, "FLUSH_S", 0.01)
    with opened(places) as log:
        for name in ("ada", "bob", "carol"):
            log.append(entry(1, principal=Principal(name)))
        monkeypatch.setattr(os, "fdatasync", broken_for_ada)
        deadline = time.monotonic() + 20
        while synced != {"bob", "carol"} and time.monotonic() < deadline:
            time.sleep(0.01)
        assert synced == {"bob", "carol"}


def test_a_file_that_could_not_be_closed_is_never_written_again(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    writer = chain_writer(places)
    written = [writer.append(entry(1))]
    (segment,) = places.root.rglob("*.jsonl")
    monkeypatch.setattr(os, "fdatasync", broken)
    while segment.stat().st_size < SEGMENT_BYTES:  # the append that fills it closes it
        written.append(writer.append(entry(1)))
    for _ in range(2):
        with pytest.raises(AuditError, match="could not make durable"):
            writer.append(entry(2))
    assert len(rows(places, "fs.write-file")) == len(written) == written[-1]


def test_a_closed_log_takes_nothing_and_keeps_no_descriptor(places: AuditPlaces) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with opened(places) as log:
        log.append(entry(1))
        log.append(entry(1, principal=Principal("bob")))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    for principal in ("ada", "carol"):
        with pytest.raises(AuditError, match="closed"):
            log.append(entry(2, principal=Principal(principal)))


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_a_principal_whose_name_was_said_keeps_no_descriptor(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(log_module, "FILES_PER_CHAIN", files // 8)
    names = [Principal(f"p{number}") for number in range(40)]
    with opened(places) as log:
        log.append(entry(0))
        before, most = len([*Path("/proc/self/fd").iterdir()]), 0
        for number, name in enumerate([*names, *names], start=1):
            log.append(entry(number, principal=name))
            most = max(most, len([*Path("/proc/self/fd").iterdir()]))
        assert most <= before + 2 * 8
    assert conditions(places) == {Condition.INTACT}
    assert len(rows(places, "fs.write-file")) == 2 * len(names) + 1


def test_a_log_that_comes_back_goes_on(places: AuditPlaces) -> None:
    with opened(places) as log:
        log.append(entry(1))
        away = places.root.with_name("away")
        log.append(entry(1, principal=Principal("bob")))
        places.root.rename(away)
        places.root.write_text("in the way")
        with pytest.raises(AuditError, match="was not recorded"):
            log.append(entry(1, principal=Principal("carol")))
        places.root.unlink()
        away.rename(places.root)
        log.append(entry(2, principal=Principal("carol")))
    assert conditions(places) == {Condition.INTACT}
    assert len(rows(places, "fs.write-file")) == 3


def test_only_the_owner_reads_it(places: AuditPlaces) -> None:
    with opened(places) as log:
        log.append(entry(1))
    for directory, names, files in os.walk(places.root):
        for name in names:
            assert (Path(directory) / name).stat().st_mode & 0o777 == 0o700, name
        for name in files:
            assert (Path(directory) / name).stat().st_mode & 0o777 == 0o600, name


def fill(places: AuditPlaces, count: int, retention: Retention) -> None:
    with opened(places, retention) as log:
        for number in range(count):
            log.append(entry(number, resource="workspace://" + "f" * 4000))
        log.append(entry(1, principal=Principal("bob")))


def bounded(places: AuditPlaces, retention: Retention, done: Callable[[], bool]) -> None:
    with opened(places, retention):
        deadline = time.monotonic() + 20
        while not done() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert done()
    assert conditions(places) == {Condition.INTACT}
    assert rows(places, "audit.pruned"), "a receipt says what was removed"
    assert any(row["principal"] == "bob" for row in rows(places, "fs.write-file"))


def test_the_largest_chain_gives_way_to_the_size_bound(places: AuditPlaces) -> None:
    fill(places, 900, Retention())
    tight = Retention(max_bytes=SEGMENT_BYTES * 20)

    def size() -> int:
        return sum(path.stat().st_size for path in places.root.rglob("*.jsonl"))

    assert size() > tight.max_bytes
    bounded(places, tight, lambda: size() <= tight.max_bytes)


def test_what_is_too_old_goes(places: AuditPlaces) -> None:
    fill(places, 60, SMALL)
    oldest = min(places.root.joinpath("ada").rglob("*.jsonl"))
    os.utime(oldest, (0, 0))
    bounded(places, SMALL, lambda: not oldest.exists())


def test_a_principal_that_does_nothing_any_more_is_forgotten_too(places: AuditPlaces) -> None:
    fill(places, 9, SMALL)
    (only,) = places.root.joinpath("ada").rglob("*.jsonl")
    os.utime(only, (0, 0))
    bounded(places, SMALL, lambda: not only.exists())
    assert [row["action"]["type"] for row in entries(places, Query(principal="ada"))] == [
        "audit.pruned"
    ]


def test_a_chain_that_cannot_be_pruned_holds_up_no_other(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(places) as log:
        for number in range(20):
            for name in ("ada", "bob"):
                far = "workspace://" + "f" * 4000
                log.append(entry(number, resource=far, principal=Principal(name)))
    stuck, *_ = places.root.joinpath("ada").rglob("*.jsonl")
    other, *_ = places.root.joinpath("bob").rglob("*.jsonl")
    os.utime(stuck, (0, 0))
    os.utime(other, (1, 1))
    real = ChainWriter.prune

    def prune(self: ChainWriter, reason: str) -> bool:
        if self._chain.principal == "ada":
            raise AuditError("the audit log of ada cannot be pruned")
        return real(self, reason)

    monkeypatch.setattr(ChainWriter, "prune", prune)
    with opened(places):
        deadline = time.monotonic() + 20
        while other.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert stuck.exists()


def test_a_chain_that_is_opened_while_the_log_closes_is_closed_too(
    places: AuditPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    making, closed = threading.Event(), threading.Event()

    def slow(*arguments: Any, **named: Any) -> ChainWriter:
        made = ChainWriter(*arguments, **named)
        making.set()
        closed.wait(1)  # whether or not closing waits for this
        return made

    monkeypatch.setattr(log_module, "ChainWriter", slow)
    log = AuditLog(places, key=KEY)
    said: list[AuditError] = []

    def append() -> None:
        try:
            log.append(entry(1))
        except AuditError as error:
            said.append(error)

    late = threading.Thread(target=append)
    late.start()
    assert making.wait(10)
    log.close()
    closed.set()
    late.join(10)
    assert not any(writer.is_open for writer in log._writers.values())
    assert len(said) + len(rows(places, "fs.write-file")) == 1


def test_a_lone_receipt_is_left_alone() -> None:
    receipt = OldSegment(ChainId("ada"), written_at=0.0, chain_bytes=1000)
    assert SMALL.next_to_prune([receipt], now=1e12) is None
    full = receipt._replace(chain_bytes=SEGMENT_BYTES)
    assert SMALL.next_to_prune([receipt, full], now=1e12) == (full, "age")


def test_a_flood_of_refusals_is_counted(places: AuditPlaces) -> None:
    now = [0.0]
    with opened(places) as log:
        recorder = DenialRecorder(log, clock=lambda: now[0])
        refusal = DecisionEvent(
            allowed=False,
            principal=Principal("ada"),
            capsule=CapsuleId("notes"),
            action="fs.read",
            resource="workspace://secret",
            rule="fs_read",
        )
        for _ in range(1000):
            recorder.record(refusal)
        recorder.flush()
        assert sum(1 for _ in entries(places, Query(outcome="denied"))) == MAX_SINGLE
        now[0] = WINDOW_S
        recorder.flush()
        assert sum(1 for _ in entries(places, Query(outcome="denied"))) == MAX_SINGLE + 1
        recorder.record(refusal)
        recorder.close()
    found = list(entries(places, Query(outcome="denied")))
    assert len(found) == MAX_SINGLE + 2
    assert sum(int(row["action"].get("count", 1)) for row in found) == 1001


class Copies:
    """A sink that keeps what it gets; the second entry breaks it."""

    def __init__(self) -> None:
        self.got: list[str] = []

    def write(self, entry: AuditEntry) -> None:
        self.got.append(entry.resource)
        if len(self.got) == 2:
            raise RuntimeError("full")

    def close(self) -> None:
        self.got.append("closed")


def test_sinks_get_every_entry_in_order_whatever_they_do(places: AuditPlaces) -> None:
    sink = Copies()
    log = AuditLog(places, key=KEY, sinks={"sink 'copies'": sink})
    for number in range(50):
        log.append(entry(number))
    log.close()
    assert sink.got == [*(f"workspace://f{number}" for number in range(50)), "closed"]
