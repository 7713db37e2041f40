"""All processes of guests: how many each principal has, who may ask about which, and their end.

Trusted with three properties: no principal has more than its profile allows, nobody reaches a
process of another capsule or principal, and nothing outlives the capsule or the kernel.
Spec: host-abi 13.2, 13.5; capsules-and-bus 5.7; kernel-and-security 5.3.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from astrid_core.host.process_service import Launch, PersistentProcess, Tell
from astrid_core.host.threads import started_thread
from astrid_core.kernel.processes.child import Child
from astrid_core.kernel.processes.environment import ProcessEnvironment
from astrid_core.kernel.processes.recorded import ProcessRecords
from astrid_core.kernel.processes.snapshots import Snapshots, clear_snapshots
from astrid_core.kernel.processes.watching import Pace, Watches
from astrid_core.kernel.reactor import Reactor
from astrid_hookspecs.cancel import wait_any
from astrid_hookspecs.errors import QuotaExceededError, SandboxError
from astrid_hookspecs.process_memory import tree_memory
from astrid_hookspecs.sandboxes import ProcessSandbox, SandboxedCommand, SandboxRequest
from astrid_hookspecs.values import CapsuleId, Principal

MAX_PER_CAPSULE: Final = 8
MAX_RETAINED: Final = 32
MAX_RETAINED_IN_ALL: Final = 256
CANCEL_GRACE_S: Final = 2.0
_SWEEP_S: Final = 0.25
_CLOSE_S: Final = 5.0


class Kept:
    """Implements `astrid_core.host.process_service.PersistentProcess`."""

    def __init__(self, process: Child) -> None:
        self.id = secrets.token_hex(16)
        self.process = process
        self.asked_s = time.monotonic()
        self.exited_s: float | None = None
        self.pace = Pace()

    @property
    def idle_s(self) -> float:
        """As `PersistentProcess.idle_s`."""
        return time.monotonic() - self.asked_s


class _Start:
    """A process that is about to be there.

    Attributes:
        launch: What it will be.
        is_over: Whether it was to be ended before it was there.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.is_over = False


class ProcessTable:
    """Implements `astrid_core.host.process_service.Processes`.

    Args:
        directory: Of the kernel's own, for what it notes about processes.
        sandbox: Gives what confines them; raises `SandboxError` when nothing can.
        environ: Of the kernel.
        network: Whether the operator lets processes use the network at all.
        writes_workspace: Whether the operator lets processes change the workspace on the disk.
    """

    def __init__(
        self,
        directory: Path,
        *,
        sandbox: Callable[[], ProcessSandbox],
        environ: Mapping[str, str] = os.environ,
        network: bool = False,
        writes_workspace: bool = False,
    ) -> None:
        self.allows_network = network
        self._snapshots = directory / "files"
        self._records = ProcessRecords(directory / "processes")
        self._sandbox = sandbox
        self._environment = ProcessEnvironment.of(environ)
        self._writes_workspace = writes_workspace
        self._reactor = Reactor("processes")
        self._lock = threading.Lock()
        self._live: dict[Child, int] = {}
        self._known: weakref.WeakSet[Child] = weakref.WeakSet()
        self._starts: set[_Start] = set()
        self._retaining: list[Principal] = []
        self._kept: dict[str, Kept] = {}
        self._watches = Watches()
        self._is_sweeping = False
        self._is_closed = False
        self._records.end_leftovers()
        clear_snapshots(self._snapshots)

    def start(self, launch: Launch) -> Child:
        """As `Processes.start`."""
        start = self._reserve(launch)
        try:
            return self._start(start)
        finally:
            with self._lock:
                self._starts.discard(start)

    def persist(self, launch: Launch) -> Kept:
        """As `Processes.persist`."""
        with self._lock:
            of = [kept.process.launch.principal for kept in self._kept.values()] + self._retaining
            if of.count(launch.principal) >= MAX_RETAINED or len(of) >= MAX_RETAINED_IN_ALL:
                raise QuotaExceededError(
                    "too many processes are remembered",
                    rule="process.retained",
                    code="process.registry-full",
                    hint="release those that have ended",
                )
            self._retaining.append(launch.principal)
        try:
            kept = Kept(self.start(launch))
        except BaseException:
            with self._lock:
                self._retaining.remove(launch.principal)
            raise
        with self._lock:
            self._retaining.remove(launch.principal)
            self._kept[kept.id] = kept
            starts, self._is_sweeping = not self._is_sweeping, True
        if starts:
            self._reactor.after(_SWEEP_S, self._sweep)
        return kept

    def find(self, capsule: CapsuleId, principal: Principal, process_id: str) -> Kept | None:
        """As `Processes.find`."""
        with self._lock:
            kept = self._kept.get(process_id)
            if kept is None or not _is_of(kept, capsule, principal):
                return None
            kept.asked_s = time.monotonic()
            return kept

    def of(self, capsule: CapsuleId, principal: Principal) -> Sequence[Kept]:
        """As `Processes.of`."""
        with self._lock:
            return [kept for kept in self._kept.values() if _is_of(kept, capsule, principal)]

    def release(self, found: PersistentProcess) -> None:
        """As `Processes.release`."""
        with self._lock:
            self._forget(found.id)
        found.process.close()

    def watch(self, found: PersistentProcess, tell: Tell) -> None:
        """As `Processes.watch`."""
        with self._lock:
            kept = self._kept.get(found.id)
            if kept is not None:  # else somebody released it meanwhile
                self._watches.watch(kept, tell)

    def unwatch(self, found: PersistentProcess) -> None:
        """As `Processes.unwatch`."""
        with self._lock:
            kept = self._kept.get(found.id)
            if kept is not None:
                self._watches.unwatch(kept)

    def memory_bytes(self, principal: Principal) -> int:
        """What the running processes of a principal use now, with all that they started."""
        with self._lock:
            mine = [pid for child, pid in self._live.items() if child.launch.principal == principal]
        return sum(map(tree_memory, mine))

    def cancel(self, principal: Principal | None, call_ids: Collection[str]) -> None:
        """End what runs for these calls: ask first, then insist.

        What belongs to no call is ended as well, unless it is meant to outlive calls. Somebody
        else's processes are never touched; the kernel itself speaks for everybody.
        """
        if not call_ids:
            return
        meant = self._meant(
            lambda launch: principal in (None, launch.principal) and _is_meant(launch, call_ids)
        )
        for child in meant:
            self._reactor.after(CANCEL_GRACE_S, child.kill)
            with contextlib.suppress(QuotaExceededError):  # no thread to ask with: it is ended then
                started_thread(child.signal, signal.SIGINT, name="process-cancel")

    def end_unloaded(self, is_loaded: Callable[[str], bool]) -> None:
        """End everything that loads of capsules started which are gone, for whomever.

        Args:
            is_loaded: Of a load, by its source id.
        """
        with self._lock:
            gone = [kept for kept in self._kept.values() if not is_loaded(_load(kept.process))]
            for kept in gone:
                self._forget(kept.id)
        for child in self._meant(lambda launch: not is_loaded(launch.load)):
            child.close()

    def close(self) -> None:
        """End everything, wait for it, and start nothing more."""
        with self._lock:
            self._is_closed = True
            self._kept.clear()
            known = list(self._known)  # those that have ended, too: they may hold pipes
        self._watches.close()  # without the lock: it waits for an event that is on its way
        for child in known:
            child.close()
        deadline = time.monotonic() + _CLOSE_S
        for child in known:
            wait_any((child.exited,), timeout_s=max(0.0, deadline - time.monotonic()))
        self._reactor.stop()

    def _meant(self, is_meant: Callable[[Launch], bool]) -> list[Child]:
        """Those that run; one that is about to start ends as soon as it is there."""
        with self._lock:
            for start in self._starts:
                start.is_over |= is_meant(start.launch)
            return [child for child in self._live if is_meant(child.launch)]

    def _forget(self, process_id: str) -> None:
        """Forget one, and who watches it; under the lock."""
        kept = self._kept.pop(process_id, None)
        if kept is not None:
            self._watches.unwatch(kept)

    def _reserve(self, launch: Launch) -> _Start:
        with self._lock:
            self._check_open()
            running = [child.launch for child in self._live if not child.is_given_up]
            others = (*(start.launch for start in self._starts), *running)
            counted = [one for one in others if one.tier != "waited"]
            mine = [one for one in counted if one.principal == launch.principal]
            same = [one for one in mine if one.capsule == launch.capsule]
            if launch.tier != "waited":
                if len(mine) >= launch.max_background:
                    raise _too_many("max_background_processes", launch.max_background)
                if len(same) >= MAX_PER_CAPSULE:
                    raise _too_many("process.per-capsule", MAX_PER_CAPSULE)
            start = _Start(launch)
            self._starts.add(start)
            return start

    def _check_open(self) -> None:
        """Under the lock."""
        if self._is_closed:
            raise SandboxError("the kernel is closing", code="kernel.closed")

    def _start(self, start: _Start) -> Child:
        sandbox = self._sandbox()
        launch = start.launch
        request = launch.request
        directory = launch.workspace.joinpath(*request.cwd)
        program = self._environment.program(launch.command.argv[0], directory=directory)
        try:
            snapshots = Snapshots(self._snapshots, request.files)
        except OSError as error:
            raise SandboxError("a file for the process cannot be kept") from error
        try:
            command = sandbox.command(
                SandboxRequest(
                    argv=(str(program), *launch.command.argv[1:]),
                    cwd=launch.workspace,
                    starts_in=directory,
                    environment={
                        **self._environment.variables,
                        **request.variables,
                        **snapshots.variables,
                    },
                    writes_cwd=self._writes_workspace,
                    files=snapshots.files,
                    network=launch.command.network,
                    limits=request.limits,
                )
            )
            child = Child(
                launch,
                sandbox=sandbox,
                reactor=self._reactor,
                ended=lambda ended: self._on_end(ended, snapshots),
            )
            self._reactor.call(lambda: self._begin(child, command, start))
        except OSError as error:
            snapshots.close()
            raise SandboxError("the process cannot be started") from error
        except BaseException:
            snapshots.close()
            raise
        return child

    def _begin(self, child: Child, command: SandboxedCommand, start: _Start) -> None:
        with self._lock:
            self._check_open()
            self._known.add(child)  # so that closing ends it, whenever that begins
        try:
            pid = child.begin(command)
        except BaseException:
            with self._lock:
                self._known.discard(child)
            raise
        self._records.add(pid)
        with self._lock:
            self._live[child] = pid
            self._starts.discard(start)  # so that nobody counts it twice
            is_over = start.is_over
        if is_over:
            child.kill()

    def _on_end(self, child: Child, snapshots: Snapshots) -> None:
        snapshots.close()
        with self._lock:
            pid = self._live.pop(child, None)
            for kept in self._kept.values():
                if kept.process is child:
                    kept.exited_s = time.monotonic()
        if pid is not None:
            self._records.remove(pid)

    def _sweep(self) -> None:
        """End what lived too long or nobody asks about, and forget what ended long ago."""
        now = time.monotonic()
        with self._lock:
            kept = list(self._kept.values())
            for one in kept:
                if one.process.exit is not None and one.exited_s is None:
                    one.exited_s = now  # it ended before it was kept
        for one in kept:
            limits = one.process.launch.request.persistence
            if one.exited_s is not None:
                if now - one.exited_s > limits.exit_retention_s:
                    self.release(one)
                continue
            age_s, idle_s = now - one.process.started_s, now - one.asked_s
            if age_s > limits.max_lifetime_s or idle_s > limits.idle_timeout_s:
                one.process.kill()
        with self._lock:
            self._is_sweeping = bool(self._kept) and not self._is_closed
            goes_on = self._is_sweeping
        if goes_on:
            self._reactor.after(_SWEEP_S, self._sweep)


def _is_of(kept: Kept, capsule: CapsuleId | None, principal: Principal | None) -> bool:
    launch = kept.process.launch
    return capsule in (None, launch.capsule) and principal in (None, launch.principal)


def _load(child: Child) -> str:
    return child.launch.load


def _is_meant(launch: Launch, call_ids: Collection[str]) -> bool:
    if launch.call_id is None:
        return launch.tier != "persistent"
    return launch.call_id in call_ids


def _too_many(rule: str, most: int) -> QuotaExceededError:
    return QuotaExceededError(
        f"at most {most} processes may run in the background",
        rule=rule,
        hint="end those that are not needed any more",
    )
