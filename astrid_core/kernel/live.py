"""Changes to the capsules of a running kernel: load, upgrade, remove, start again; one at a time.

Trusted with order: what a person, a client and the supervisor want of the same capsule happens one
after the other, and what is loaded follows what is installed.
Spec: kernel-and-security 1.4; capsules-and-bus 3.6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.domain.manifest import EnvField
from astrid_core.kernel.assembly import Parts
from astrid_core.kernel.boot import BootProblem, announce, load_changes
from astrid_core.kernel.configured_servers import everything, load_one
from astrid_core.kernel.endable_report import EndableReport, to_its_end
from astrid_core.kernel.install.installed import discover
from astrid_core.kernel.install.installer import Staged
from astrid_core.kernel.install.model import InstallResult
from astrid_core.kernel.install.removal import Removed, remove_capsule
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import AstridError, CapsuleError
from astrid_hookspecs.values import CapsuleId, parse_capsule_id

CLOSE_S: Final = 30.0
T = TypeVar("T")


class LiveCapsules:
    """The capsules of one kernel, as something that changes. Lives on the kernel's loop.

    Args:
        parts: Of the kernel.
        workspace: Whose capsules count as well; None for none.
        loaded: Told of every capsule that was loaded, from any thread.
    """

    def __init__(
        self, parts: Parts, *, workspace: Path | None, loaded: Callable[[CapsuleId], object]
    ) -> None:
        self._parts = parts
        self._loaded = loaded
        self._workspace = workspace
        self._turn = asyncio.Lock()
        self._is_closed = False
        self._report: EndableReport | None = None

    async def install(
        self,
        staged: Staged,
        *,
        answers: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> InstallResult:
        """As `Kernel.install`; who is cancelled ends it at its next report."""
        report = EndableReport(progress, ending=_cancelled)

        def change() -> InstallResult:
            result = staged.commit(staged.answers(answers or {}), progress=report)
            try:
                self._load(result.capsule.id)
            except AstridError as error:
                self._take_back(staged, error)
                raise
            announce(self._parts.bus)
            return result

        return await self._in_turn(change, report=report)

    async def configure(self, name: str, given: Mapping[str, str]) -> tuple[EnvField, ...]:
        """As `Kernel.configure`."""

        def change() -> tuple[EnvField, ...]:
            installed = load_one(self._parts.home, name, workspace=self._workspace)
            missing = self._parts.onboarding.keep(installed.manifest, given)
            self._load(installed.id)
            return missing

        return await self._in_turn(change)

    async def remove(self, name: str, *, force: bool, purge: bool) -> Removed:
        """As `Kernel.remove`."""

        def change() -> Removed:
            parts = self._parts
            removed = remove_capsule(parts.home, name, audit=parts.audit, force=force, purge=purge)
            if parts.capsules.find(removed.name) is not None:
                parts.capsules.unload(removed.name)
                announce(parts.bus)
            return removed

        return await self._in_turn(change)

    async def reload(self, name: str) -> None:
        """As `Kernel.reload`."""
        await self._in_turn(partial(self._load, parse_capsule_id(name)))

    async def reload_all(self) -> tuple[list[CapsuleId], list[BootProblem]]:
        """As `Kernel.reload_all`, with what did not load."""
        return await self._in_turn(self._follow_installed)

    async def restart(self, failed: Loaded) -> Loaded | None:
        """Load what is installed in place of a capsule that failed.

        Returns:
            None, with nothing done, when it was replaced or removed in the meantime.

        Raises:
            As `Kernel.reload`.
        """

        def change() -> Loaded | None:
            is_there = self._parts.capsules.find(failed.id) is failed
            return self._load(failed.id) if is_there else None

        return await self._in_turn(change)

    async def close(self) -> None:
        """Begin no change any more, and wait for the one that is under way, for a bounded time.

        An installation that still reports, because it compiles, ends with that.
        """
        self._is_closed = True
        if self._report is not None:
            self._report.interrupted = True
        try:
            await asyncio.wait_for(self._turn.acquire(), CLOSE_S)
        except TimeoutError:
            logger.warning("a change of the capsules is still under way while the kernel closes")
        else:
            self._turn.release()

    async def _in_turn(self, change: Callable[[], T], *, report: EndableReport | None = None) -> T:
        """Make one change on a thread, then drop what was compiled of what is gone."""
        async with self._turn:
            if self._is_closed:
                raise CapsuleError("the kernel is closing", code="kernel.closed")
            before = self._loaded_components()
            self._report = report
            try:
                work = asyncio.ensure_future(asyncio.to_thread(change))
                return await to_its_end(work, report)
            finally:
                self._report = None
                gone = before - self._loaded_components()
                if gone:
                    await asyncio.to_thread(self._forget, gone)

    def _loaded_components(self) -> set[str]:
        found = (capsule.spec.component_hash for capsule in self._parts.capsules.all())
        return {component for component in found if component is not None}

    def _forget(self, components: set[str]) -> None:
        """Drop compiled components, unless something installed has the same."""
        found = discover(self._parts.home, workspace=self._workspace, check_content=False)
        needed = {capsule.meta.wasm_hash for capsule in found.capsules}
        try:
            engine = self._parts.engines.engine("component")
            for component in components - needed:
                engine.forget(component)
        except AstridError as error:
            logger.warning("compiled components stay behind: {}", error)

    def _take_back(self, staged: Staged, error: AstridError) -> None:
        """Put the version before the one that did not start in place again, and say so.

        Whatever goes wrong here is logged: the caller has an error to raise already.
        """
        try:
            previous = staged.roll_back()
        except (AstridError, OSError) as failure:
            logger.error(
                "the version of {} before the one that did not start is not back: {}",
                staged.name,
                failure_text(failure),
            )
            return
        if previous is None:
            return
        said = f"version {previous.meta.version} is in place again"
        error.hint = said if error.hint is None else f"{said}; {error.hint}"
        logger.warning("the new version of {} did not start; {}", staged.name, said)
        there = self._parts.capsules.find(staged.name)
        if there is None or there.state != "ready":
            try:
                self._load(staged.name)
            except AstridError as failure:
                logger.error("and did not start again: {}", failure)

    def _follow_installed(self) -> tuple[list[CapsuleId], list[BootProblem]]:
        found = everything(self._parts.home, workspace=self._workspace)
        return load_changes(found, table=self._parts.capsules, bus=self._parts.bus)

    def _load(self, name: CapsuleId) -> Loaded:
        installed = load_one(self._parts.home, name, workspace=self._workspace)
        fresh = self._parts.capsules.load(installed)
        self._loaded(name)
        return fresh


def _cancelled() -> CapsuleError:
    return CapsuleError("the installation was cancelled", code="capsule.cancelled")
