"""The audit log by itself: what an entry costs, and what committing in groups gains."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

from astrid_core.domain.audit_commit import LogKey
from astrid_core.kernel.audit.log import AuditLog
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.values import CapsuleId, Principal
from tests.benchmarks.kernel_side import scratch
from tests.benchmarks.measure import Row, alternate, compare, information, micro

THREADS = 8


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    rounds = 3 if quick else 9
    each = 50 if quick else 250
    numbers = itertools.count()

    def entry() -> AuditEntry:
        return AuditEntry(
            timestamp="2026-11-25T12:00:00.000Z",
            principal=Principal("default"),
            capsule=CapsuleId("bench"),
            action="fs.write-file",
            resource=f"workspace://file-{next(numbers)}",
            outcome="allowed",
            rule="fs_write:workspace://",
            detail={"bytes": "64"},
        )

    with scratch() as directory, ThreadPoolExecutor(THREADS) as pool:
        log = AuditLog(AuditPlaces(directory), key=LogKey(b"k" * 32))

        def several(count: int) -> None:
            for _ in range(count):
                log.append(entry())

        def alone() -> float:
            start = time.perf_counter()
            several(each)
            return (time.perf_counter() - start) / each

        def together() -> float:
            start = time.perf_counter()
            list(pool.map(several, [each] * THREADS))
            return (time.perf_counter() - start) / (each * THREADS)

        try:
            group = compare(together, alone, rounds=rounds)
            durable = alternate(
                lambda: log.append(entry()),
                lambda: log.append(entry(), durable=True),
                times=(each, 20),
                rounds=rounds,
            )
        finally:
            log.close()
    return [
        information(
            "audit entry, written and sealed before it returns", micro(durable.ours), unit="us"
        ),
        information("audit entry, durable before it returns", micro(durable.theirs), unit="us"),
        information(
            f"audit entries of {THREADS} threads in one chain, against one thread",
            group.ratio,
            unit="x entries/s",
            detail={
                "entries_per_s": round(1 / group.ours),
                "single_entries_per_s": round(1 / group.theirs),
            },
        ),
    ]
