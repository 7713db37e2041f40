"""The kernel as an embedding program, the command line and the demo use it.

```python
async with Kernel.open(home="/var/lib/agent") as kernel:
    result = await kernel.call_tool("remember", {"topic": "tea", "fact": "3 minutes"})
```
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from loguru import logger

from astrid_core.domain.manifest import EnvField
from astrid_core.domain.topic import check_publish_topic
from astrid_core.host.kv import kv_namespace
from astrid_core.kernel.approvals import Approvals
from astrid_core.kernel.assembly import Parts, assemble, changes_of, lifecycle_of
from astrid_core.kernel.boot import OF_THE_KERNEL, BootProblem, load_capsules
from astrid_core.kernel.build import built
from astrid_core.kernel.clients import ClientAccess
from astrid_core.kernel.configured_servers import everything, load_one
from astrid_core.kernel.farewell import say_farewell
from astrid_core.kernel.home import resolve_home
from astrid_core.kernel.install.installer import Staged, stage
from astrid_core.kernel.install.journal import recover
from astrid_core.kernel.install.model import InstallResult, Tools
from astrid_core.kernel.install.places import workspace_place
from astrid_core.kernel.install.removal import Removed
from astrid_core.kernel.install.sources import Source, find_source
from astrid_core.kernel.live import LiveCapsules
from astrid_core.kernel.loaded import Loaded
from astrid_core.kernel.loop_inbox import LoopInbox
from astrid_core.kernel.mounts.changes import WorkspaceChanges
from astrid_core.kernel.principals.configured_links import link_configured
from astrid_core.kernel.supervision import Supervisor
from astrid_core.kernel.tool_catalogue import ToolInfo
from astrid_core.kernel.tool_pins import ToolPins
from astrid_core.kernel.tools import Outcome, ToolResult
from astrid_core.ports.audit import AuditTrail
from astrid_core.ports.clock import Clock
from astrid_hookspecs.builders import BuildResult
from astrid_hookspecs.buses import BusSubscription, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import AstridError, ToolError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import (
    DEFAULT_PRINCIPAL,
    CapsuleId,
    parse_capsule_id,
    parse_principal,
)


class Kernel:
    """A running kernel. Make one with `Kernel.open`; one per home, any number per process.

    Coroutines may be awaited on the event loop that opened the kernel; plain methods may be called
    from any thread. Blocking work runs on worker threads, never on the loop.

    Attributes:
        reason: Why it ends, for the event that capsules get then.
        problems: Installed capsules that did not load, and why; as `audit`, a log that is not as
            it was written; as `identity`, a configured link that could not be made.
    """

    def __init__(self, parts: Parts, *, workspace: Path | None, clock: Clock) -> None:
        self._parts = parts
        self._workspace = workspace
        self._lifecycle = lifecycle_of(parts)
        self._loop = asyncio.get_running_loop()
        self._outcomes: LoopInbox[Outcome] = LoopInbox(self._loop)
        self._live = LiveCapsules(parts, workspace=workspace, loaded=self._forget_problem)
        self.supervisor = Supervisor(
            parts.capsules,
            bus=parts.bus,
            changed=parts.changed,
            restart=self._live.restart,
            clock=clock,
        )
        self.reason = "closed"
        self.problems: list[BootProblem] = []
        self.clients = ClientAccess(parts)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        home: str | os.PathLike[str] | None = None,
        workspace: str | os.PathLike[str] | None = None,
        plugins: Mapping[str, object] | Iterable[object] = (),
        clock: Clock | None = None,
    ) -> AsyncIterator[Kernel]:
        """Boot a kernel on a home and load what is installed there; shut it down at the end.

        Args:
            home: The runtime home; None for `ASTRID_HOME`, else `~/.astrid`. Created if missing.
            workspace: A project directory: guests see it as `workspace://`, their edits go to an
                overlay per principal, and its `.astrid/capsules` are loaded as well.
            plugins: Plugin objects besides the installed ones, for instance observers.
            clock: By which failed capsules are started again; None for the machine's.

        Raises:
            HomeLockedError: Another kernel uses the home.
            ConfigError, PluginError, StoreError, IntegrityError: The boot failed; nothing of it is
                left running. A capsule that does not load is no boot failure: see `problems`.
        """
        path = resolve_home(os.environ) if home is None else _absolute(home)
        project = None if workspace is None else _absolute(workspace)
        parts = await _assembled(path, plugins, workspace=project)
        try:
            kernel = cls(parts, workspace=project, clock=clock or parts.services.clock)
            await asyncio.to_thread(kernel._boot)
            async with kernel._supervised():
                yield kernel
            await asyncio.to_thread(say_farewell, parts.dispatcher, kernel.reason)
        finally:
            await asyncio.shield(asyncio.to_thread(parts.release.close))

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, object] | None = None,
        *,
        principal: str = DEFAULT_PRINCIPAL,
        timeout_s: float | None = None,
    ) -> ToolResult:
        """Call a tool and wait for its answer. Cancelling the task stops the guest.

        Args:
            name: `tool`, or `capsule.tool` where several capsules offer it.
            arguments: By name; encodable as JSON.
            principal: On whose behalf; selects state, limits and permissions.
            timeout_s: Give up after this long; None leaves it to the principal's own limit.

        Returns:
            The answer. A failure that the tool itself reports is an answer with `is_error`.

        Raises:
            ToolNotFoundError: Nobody offers it, or several do.
            ToolError: `tool.timeout`, `tool.no-answer`, `tool.arguments`.
            DeniedError: The gate, a policy or an interceptor refused; `rule` says which.
            EngineError: The guest trapped, ran too long or hit a limit; the next call works.
            ConfigError: `principal.invalid`, or the principal's profile cannot be read.
        """
        who = parse_principal(principal)
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        cancel = CancelToken()
        started = self._parts.tools.start(
            name,
            arguments or {},
            principal=who,
            cancel=cancel,
            on_done=partial(self._outcomes.put, answer),
        )
        bound_s = started.timeout_s if timeout_s is None else timeout_s
        try:
            outcome = await asyncio.wait_for(answer, bound_s)
        except TimeoutError as error:
            raise ToolError(
                f"{name!r} did not answer within {bound_s} s", code="tool.timeout"
            ) from error
        finally:
            if not answer.done() or answer.cancelled():
                cancel.fire()
                self._parts.tools.forget(started.call_id)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def tools(self, principal: str | None = None) -> list[ToolInfo]:
        """Every tool that can be called now, by name and capsule.

        Args:
            principal: Only what it may see; None for everything.

        Raises:
            ConfigError: `principal.invalid`, or its profile or the groups cannot be read.
        """
        who = None if principal is None else parse_principal(principal)
        return self._parts.tools.catalogue(who)

    @property
    def tool_pins(self) -> ToolPins:
        """Tools of servers as they were accepted, and those that wait for somebody's yes."""
        return ToolPins(self._parts.capsules, audit=self._parts.audit)

    def capsules(self) -> list[Loaded]:
        """Every loaded capsule, by id."""
        return self._parts.capsules.all()

    def denials(self) -> list[DecisionEvent]:
        """The gate's latest refusals, oldest first; at most a thousand."""
        return self._parts.decisions.recent()

    @property
    def audit(self) -> AuditTrail:
        """The audit log, for embedding programs that act on behalf of somebody."""
        return self._parts.audit

    @property
    def approvals(self) -> Approvals:
        """Questions to people, for programs that ask or show them."""
        return self._parts.principals.approvals

    def publish(self, envelope: Envelope) -> Envelope:
        """Publish an event as the embedding program, which is trusted with what it says.

        Returns:
            The envelope with its sequence number; interceptors run later.

        Raises:
            ProtocolError: `topic.*`: the topic is malformed.
            ConfigError: `principal.invalid`: names of files and stores are made from it.
        """
        check_publish_topic(envelope.topic)
        if envelope.principal is not None:
            parse_principal(envelope.principal)
        return self._parts.bus.publish(envelope)

    def subscribe(self, pattern: str) -> BusSubscription:
        """Receive what is published from now on; the caller closes it."""
        return self._parts.bus.subscribe(pattern)

    def read_state(
        self, capsule: str, key: str, *, principal: str = DEFAULT_PRINCIPAL
    ) -> bytes | None:
        """One value of a capsule's key-value state, as the operator sees it.

        Args:
            capsule: Its id.
            key: Of the value.
            principal: Whose state.

        Returns:
            None when there is no such key.

        Raises:
            ConfigError: `capsule.invalid-id` or `principal.invalid`.
        """
        namespace = kv_namespace(parse_principal(principal), parse_capsule_id(capsule))
        return self._parts.services.kv.get(namespace, key)

    def changes(self, principal: str = DEFAULT_PRINCIPAL) -> WorkspaceChanges:
        """What a principal's guests changed in the workspace: look, commit, or roll back.

        Its methods may block on the disk; call them from a thread.

        Raises:
            ConfigError: `principal.invalid`.
        """
        return changes_of(self._parts, parse_principal(principal))

    def build(
        self, project: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> AbstractContextManager[BuildResult]:
        """Build a source tree with the installed builder that knows it.

        Raises:
            CapsuleError: `capsule.build` with the tool chain's message, or `capsule.no-builder`.
        """
        return built(self._parts.plugins.registry, _absolute(project), progress=progress)

    def stage(
        self, source: Source | str | os.PathLike[str], *, in_workspace: bool = False
    ) -> Staged:
        """Unpack and read a capsule, without installing it: see what it asks for first.

        A context manager; leaving it without `install` leaves no trace.

        Args:
            source: Path of a directory or a `.capsule` archive; for text that a person typed, what
                `find_source` makes of it.
            in_workspace: Install it for the workspace instead of the user.

        Raises:
            ArchiveError, ManifestError, CapsuleError: It cannot be installed.
        """
        if not isinstance(source, Source):
            source = find_source(os.fspath(_absolute(source)), cwd=Path())
        place = workspace_place(self._workspace) if in_workspace and self._workspace else None
        tools = Tools(
            engine=lambda: self._parts.engines.engine("component"),
            clock=self._parts.services.clock,
            audit=self._parts.audit,
            lifecycle=self._lifecycle,
            secrets=self._parts.secrets,
        )
        return stage(self._parts.home, source, tools=tools, place=place)

    async def install(
        self,
        staged: Staged,
        *,
        answers: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> InstallResult:
        """Install a staged capsule and load it, replacing a loaded version without a pause.

        Args:
            staged: From `stage`.
            answers: To the manifest's `[env]` questions.
            progress: Hears about compiling.

        Raises:
            CapsuleError, ComponentError, EngineError, IntegrityError: It was not installed and
                nothing was changed; or, with `capsule.crashed`, it is installed but its new load
                failed: what was loaded before goes on until the next start of the kernel.
        """
        return await self._live.install(staged, answers=answers, progress=progress)

    def unanswered(self, name: str) -> tuple[EnvField, ...]:
        """What an installed capsule has not been told yet and has no default for, in file order.

        Raises:
            CapsuleNotFoundError: It is not installed.
            SecretError: The secret store cannot be asked.
        """
        installed = load_one(self._parts.home, name, workspace=self._workspace)
        return self._parts.onboarding.missing(installed.manifest)

    async def configure(self, name: str, answers: Mapping[str, str]) -> tuple[EnvField, ...]:
        """Answer what an installed capsule's `[env]` asks, and load it again.

        Args:
            name: Its id.
            answers: Settings and secrets by key.

        Returns:
            What is still missing.

        Raises:
            CapsuleNotFoundError: It is not installed.
            CapsuleError: `capsule.answer`, and nothing was kept; else as `reload`.
            SecretError: There is no store, or it failed; nothing was kept.
        """
        return await self._live.configure(name, answers)

    async def remove(self, name: str, *, force: bool = False, purge: bool = False) -> Removed:
        """Unload and uninstall a capsule.

        Args:
            name: Its id.
            force: Even when others need what only it provides.
            purge: Also forget its settings.

        Raises:
            CapsuleNotFoundError: It is not installed.
            CapsuleError: Others need it and `force` was not given.
        """
        return await self._live.remove(name, force=force, purge=purge)

    async def reload(self, name: str) -> None:
        """Load an installed capsule again, from what is on disk now.

        Raises:
            CapsuleNotFoundError: It is not installed.
            IntegrityError: It is not as it was installed.
            ComponentError, CapsuleError: The new load failed; a call-driven old one stays.
        """
        await self._live.reload(name)

    async def reload_all(self) -> list[CapsuleId]:
        """Load what was installed, upgraded or repaired since; what runs unchanged runs on.

        Returns:
            Names of what was loaded. `problems` says what was not.
        """
        loaded, problems = await self._live.reload_all()
        kept = [problem for problem in self.problems if problem.capsule in OF_THE_KERNEL]
        self.problems = kept + problems
        return loaded

    def _boot(self) -> None:
        parts = self._parts
        identities = parts.principals.identities
        identities.ensure_owner()
        unlinked = link_configured(parts.settings.links, identities=identities)
        for done in recover(parts.home, lifecycle=self._lifecycle, workspace=self._workspace):
            logger.info("recovered: {}", done)
        parts.dispatcher.start()
        found = everything(parts.home, workspace=self._workspace)
        self.problems = [
            BootProblem(unusable.directory.name, unusable.error) for unusable in found.unusable
        ]
        self.problems += [BootProblem("audit", error) for error in parts.audit.problems]
        self.problems += [BootProblem("identity", error) for error in unlinked]
        self.problems += load_capsules(found.capsules, table=parts.capsules, bus=parts.bus)

    def _forget_problem(self, capsule: CapsuleId) -> None:
        self.problems = [problem for problem in self.problems if problem.capsule != capsule]

    @asynccontextmanager
    async def _supervised(self) -> AsyncIterator[None]:
        """Look after the capsules in the background; what is under way at the end is awaited."""
        work = [asyncio.ensure_future(self.supervisor.run()),
                asyncio.ensure_future(self.supervisor.tick())]  # fmt: skip
        try:
            yield
        finally:
            self.supervisor.stop()
            await asyncio.shield(asyncio.gather(*work))
            await asyncio.shield(self._live.close())


async def _assembled(
    path: Path, plugins: Mapping[str, object] | Iterable[object], *, workspace: Path | None
) -> Parts:
    """Assemble on a thread; what a cancelled caller no longer waits for is released again."""
    work = asyncio.ensure_future(
        asyncio.to_thread(assemble, path, workspace=workspace, plugins=plugins)
    )
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        with suppress(AstridError):
            parts = await work
            await asyncio.to_thread(parts.release.close)
        raise


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(path).absolute()
