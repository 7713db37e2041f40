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
from astrid_core.kernel.install.installed import Discovery, InstalledCapsule
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.buses import Bus, Envelope
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import CapsuleId

LOADED_TOPIC: Final = "astrid.v1.capsules_loaded"
OF_THE_KERNEL: Final = frozenset({"audit", "identity"})
"""What problems are about that concern no capsule."""


@dataclass(frozen=True, slots=True)
class BootProblem:
    """Something that did not load; the kernel runs without it.

    Attributes:
        capsule: Its name, or the name of its directory; `audit` for the audit log, `identity` for
            a configured link.
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


def load_changes(
    found: Discovery, *, table: CapsuleTable
) -> tuple[list[CapsuleId], list[BootProblem]]:
    """Load what is new, failed, or installed in another version than the loaded one.

    Args:
        found: What is installed now.
        table: Where it goes; capsules that are loaded as they are installed stay untouched.

    Returns:
        Names of what was loaded, and what did not load or cannot be used.
    """
    running = {capsule.id: capsule for capsule in table.all()}
    loaded = []
    problems = [BootProblem(unusable.directory.name, unusable.error) for unusable in found.unusable]
    for installed in found.capsules:
        old = running.get(installed.id)
        if old is not None and old.state == "ready" and _is_same(old, installed):
            continue
        try:
            table.load(installed, ready_timeout_s=READY_TIMEOUT_S)
        except AstridError as error:
            logger.error("capsule {} did not load: {}", installed.id, error)
            problems.append(BootProblem(installed.id, error))
        else:
            loaded.append(installed.id)
    return loaded, problems


def _is_same(loaded: Loaded, installed: InstalledCapsule) -> bool:
    is_same_component = loaded.spec.component_hash == installed.meta.wasm_hash
    return is_same_component and loaded.manifest == installed.manifest
