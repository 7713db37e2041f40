"""Loading what is installed: order, uplinks first, readiness, and what to say about failures.

Spec: capsules-and-bus 3.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loguru import logger

from astrid_core.domain.payload import encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import RawJson
from astrid_core.domain.resolve import load_order, partition_uplinks
from astrid_core.kernel.capsules import READY_TIMEOUT_S, CapsuleTable
from astrid_core.kernel.install.installed import InstalledCapsule
from astrid_hookspecs.buses import Bus, Envelope
from astrid_hookspecs.errors import AstridError

LOADED_TOPIC: Final = "astrid.v1.capsules_loaded"


@dataclass(frozen=True, slots=True)
class BootProblem:
    """Something that did not load; the kernel runs without it.

    Attributes:
        capsule: Its name, or the name of its directory; `audit` for the audit log.
        error: Why.
    """

    capsule: str
    error: AstridError


def load_capsules(
    installed: Sequence[InstalledCapsule], *, table: CapsuleTable, bus: Bus
) -> list[BootProblem]:
    """Load capsules in dependency order and announce that it is done.

    A capsule that fails is reported and left out; the others are loaded all the same. Imports
    nobody satisfies and cycles are logged and stop nothing.

    Args:
        installed: Verified, names unique.
        table: Where they go.
        bus: Receives `astrid.v1.capsules_loaded`.
    """
    by_name = {capsule.id: capsule for capsule in installed}
    order = load_order([capsule.manifest for capsule in installed])
    if order.problem is not None:
        logger.warning("{}; loading in the order of names", order.problem)
    for missing in order.unsatisfied:
        level = "INFO" if missing.wanted.optional else "WARNING"
        logger.log(
            level,
            "capsule {} imports {} {}, which nothing provides",
            missing.capsule,
            missing.wanted.name,
            missing.wanted.requirement,
        )
    problems = []
    for group in partition_uplinks(order.order):
        for manifest in group:
            try:
                table.load(by_name[manifest.name], ready_timeout_s=READY_TIMEOUT_S)
            except AstridError as error:
                logger.error("capsule {} did not load: {}", manifest.name, error)
                problems.append(BootProblem(manifest.name, error))
    kind, payload = encode(RawJson(value={"status": "ready"}))
    bus.publish(Envelope(LOADED_TOPIC, payload, kind, timestamp=format_timestamp(time.time_ns())))
    return problems
