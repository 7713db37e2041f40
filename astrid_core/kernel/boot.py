"""Loading what is installed: order, uplinks first, readiness, and what to say about failures.

Spec: capsules-and-bus 3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.domain.manifest import Manifest
from astrid_core.domain.payload import encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import RawJson
from astrid_core.domain.resolve import (
    load_order,
    partition_uplinks,
    shared_exports,
    unsatisfied,
)
from astrid_core.domain.topic import TOOLS_TOPIC
from astrid_core.kernel.capsules import READY_TIMEOUT_S, CapsuleTable
from astrid_core.kernel.install.installed import Discovery, InstalledCapsule
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.buses import Bus, Envelope
from astrid_hookspecs.errors import AstridError, CapsuleError
from astrid_hookspecs.values import CapsuleId

LOADED_TOPIC: Final = "astrid.v1.capsules_loaded"
OF_THE_KERNEL: Final = frozenset({"audit", "identity"})
"""What problems are about that concern no capsule."""
T = TypeVar("T")


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

    Uplinks come first, so that who they bring meets a kernel that is going to be complete. A
    capsule that fails is reported and left out; the others are loaded all the same. Imports nobody
    satisfies and cycles are logged and stop nothing.

    Args:
        installed: Verified, names unique.
        table: Where they go.
        bus: Receives `astrid.v1.capsules_loaded`.
    """
    by_name = {capsule.id: capsule for capsule in installed}
    order = load_order([capsule.manifest for capsule in installed])
    if order.problem is not None:
        logger.error("{}; loading in the order of names", order.problem)
    _report_interfaces(order.order)
    problems = []
    for group in partition_uplinks(order.order):
        problems += _load_group([by_name[manifest.name] for manifest in group], table=table)
    announce(bus)
    return problems


def load_changes(
    found: Discovery, *, table: CapsuleTable, bus: Bus
) -> tuple[list[CapsuleId], list[BootProblem]]:
    """Let what runs follow what is installed now.

    What is new, failed, or installed in another version than the loaded one is loaded; what is
    installed no more is unloaded. A capsule whose files are damaged runs on as it was loaded.

    Args:
        found: What is installed now.
        table: Where it goes; capsules that are loaded as they are installed stay untouched.
        bus: Receives `astrid.v1.capsules_loaded`.

    Returns:
        Names of what was loaded, and what did not load or cannot be used.
    """
    running = {capsule.id: capsule for capsule in table.all()}
    problems = [BootProblem(unusable.directory.name, unusable.error) for unusable in found.unusable]
    present = {*(capsule.id for capsule in found.capsules), *(it.capsule for it in problems)}
    for name in running.keys() - present:
        try:
            table.unload(name)
        except AstridError as error:
            logger.error("capsule {} was removed and cannot be unloaded: {}", name, error)
    changed = []
    for installed in found.capsules:
        old = running.get(installed.id)
        if old is None or old.state != "ready" or not _is_same(old, installed):
            changed.append(installed)
    order = load_order([capsule.manifest for capsule in changed])
    by_name = {capsule.id: capsule for capsule in changed}
    failed = []
    for group in partition_uplinks(order.order):
        failed += _load_group([by_name[manifest.name] for manifest in group], table=table)
    announce(bus)
    lost = {problem.capsule for problem in failed}
    return [name for name in by_name if name not in lost], problems + failed


def announce(bus: Bus) -> None:
    """Say that everything installed is loaded, or was tried."""
    kind, payload = encode(RawJson(value={"status": "ready"}))
    bus.publish(Envelope(LOADED_TOPIC, payload, kind, timestamp=format_timestamp(time.time_ns())))


def announce_tools(bus: Bus) -> None:
    """Say to everybody that there may be other tools now."""
    kind, payload = encode(RawJson(value={}))
    bus.publish(Envelope(TOOLS_TOPIC, payload, kind, timestamp=format_timestamp(time.time_ns())))


def _load_group(installed: Sequence[InstalledCapsule], *, table: CapsuleTable) -> list[BootProblem]:
    """Start one after the other, then wait for all: together as long as for one alone."""
    problems: list[BootProblem] = []

    def attempt(name: CapsuleId, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except AstridError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - no capsule and no engine ends the kernel
            logger.error("loading {} ended by a defect: {}", name, failure_text(error))
            failure = CapsuleError(f"loading it ended by a defect: {type(error).__name__}")
        logger.error("capsule {} did not load: {}", name, failure)
        problems.append(BootProblem(name, failure))
        return None

    begun = [attempt(one.id, partial(table.begin, one)) for one in installed]
    deadline = time.monotonic() + READY_TIMEOUT_S
    for fresh in begun:
        if fresh is not None:
            left_s = max(0.0, deadline - time.monotonic())
            attempt(fresh.id, partial(table.finish, fresh, ready_timeout_s=left_s))
    return problems


def _report_interfaces(manifests: Sequence[Manifest]) -> None:
    """Log imports that nothing provides, and interfaces with several providers."""
    for missing in unsatisfied(manifests):
        level = "INFO" if missing.wanted.optional else "WARNING"
        logger.log(
            level,
            "capsule {} imports {} {}, which nothing provides",
            missing.capsule,
            missing.wanted.name,
            missing.wanted.requirement,
        )
    for interface, names in shared_exports(manifests):
        logger.warning("{} is exported by several capsules: {}", interface, ", ".join(names))
    for manifest in manifests:
        if manifest.is_uplink and manifest.imports:
            logger.warning("uplink {} has imports, which load after it", manifest.name)


def _is_same(loaded: Loaded, installed: InstalledCapsule) -> bool:
    is_same_component = loaded.spec.component_hash == installed.meta.wasm_hash
    return is_same_component and loaded.manifest == installed.manifest
