"""Changes to the capsules of a running kernel: load, upgrade, remove, start again; one at a time.

Trusted with order: what a person, a client and the supervisor want of the same capsule happens one
after the other, and what is loaded follows what is installed.
Spec: kernel-and-security 1.4; capsules-and-bus 3.6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.kernel.assembly import Parts
from astrid_core.kernel.boot import BootProblem, load_changes
from astrid_core.kernel.capsules import READY_TIMEOUT_S
from astrid_core.kernel.install.installed import discover, load_installed
from astrid_core.kernel.install.installer import InstallResult, Staged
from astrid_core.kernel.install.removal import Removed, remove_capsule
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import CapsuleId, parse_capsule_id


class LiveCapsules:
    """The capsules of one kernel, as something that changes. Lives on the kernel's loop.

    Args:
        parts: Of the kernel.
        workspace: Whose capsules count as well; None for none.
    """

    def __init__(self, parts: Parts, *, workspace: Path | None) -> None:
        self._parts = parts
        self._workspace = workspace
        self._turn = asyncio.Lock()

    async def install(
        self,
        staged: Staged,
        *,
        answers: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> InstallResult:
        """As `Kernel.install`."""
        async with self._turn:
            checked = staged.answers(answers or {})
            result = await asyncio.to_thread(staged.commit, checked, progress=progress)
            try:
                await asyncio.to_thread(self._load, result.capsule.id)
            except AstridError as error:
                await asyncio.to_thread(self._take_back, staged, error)
                raise
            return result

    async def remove(self, name: str, *, force: bool, purge: bool) -> Removed:
        """As `Kernel.remove`."""
        async with self._turn:
            removed = await asyncio.to_thread(
                remove_capsule,
                self._parts.home,
                name,
                audit=self._parts.audit,
                force=force,
                purge=purge,
            )
            if self._parts.capsules.find(removed.name) is not None:
                await asyncio.to_thread(self._parts.capsules.unload, removed.name)
            return removed

    async def reload(self, name: str) -> None:
        """As `Kernel.reload`."""
        async with self._turn:
            await asyncio.to_thread(self._load, parse_capsule_id(name))

    async def reload_all(self) -> tuple[list[CapsuleId], list[BootProblem]]:
        """As `Kernel.reload_all`, with what did not load."""
        async with self._turn:
            return await asyncio.to_thread(self._follow_installed)

    async def restart(self, failed: Loaded) -> Loaded | None:
        """Load what is installed in place of a capsule that failed.

        Returns:
            None, with nothing done, when it was replaced or removed in the meantime.

        Raises:
            As `Kernel.reload`.
        """
        async with self._turn:
            if self._parts.capsules.find(failed.id) is not failed:
                return None
            return await asyncio.to_thread(self._load, failed.id)

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
        found = discover(self._parts.home, workspace=self._workspace)
        return load_changes(found, table=self._parts.capsules, bus=self._parts.bus)

    def _load(self, name: CapsuleId) -> Loaded:
        installed = load_installed(self._parts.home, name, workspace=self._workspace)
        return self._parts.capsules.load(installed, ready_timeout_s=READY_TIMEOUT_S)
