"""What the commands of `astrid capsule` open before they work, and close afterwards.

A daemon is not needed: commands that change something hold the lock of the home while they do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astrid_core.cli.context import allow_list, home_path, import_plugins, settings
from astrid_core.cli.output import results_only
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.places import Place, find_workspace, workspace_place
from astrid_hookspecs.errors import PluginLoadError

if TYPE_CHECKING:
    from astrid_core.kernel.assembly import Parts
    from astrid_core.kernel.install.model import Tools
    from astrid_core.kernel.kernel import Kernel
    from astrid_core.pluginhost.registry import Registry
    from astrid_hookspecs.engines import Engine
    from astrid_hookspecs.secrets import SecretStore

WorkspaceOption = Annotated[
    bool, typer.Option("--workspace", help="The capsules of this project instead of the user's.")
]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Agree to everything the capsule asks for.")
]


def open_home() -> Home:
    """The runtime home of this process, created on first use; not locked."""
    return Home.open(home_path())


def workspace() -> Path:
    """The project that the current directory belongs to."""
    return find_workspace(Path.cwd(), home=home_path())


@dataclass(frozen=True, slots=True)
class Workbench:
    """A locked home and everything that installing needs; no capsule is running.

    Attributes:
        parts: Of a kernel; its home is locked until the session ends.
        tools: For the installer.
    """

    parts: Parts
    tools: Tools

    @property
    def home(self) -> Home:
        """The locked home."""
        return self.parts.home

    @property
    def registry(self) -> Registry:
        """What plugins declared."""
        return self.parts.plugins.registry

    @property
    def secrets(self) -> SecretStore | None:
        """The secret store, None without one."""
        return self.parts.secrets

    def place(self, *, in_workspace: bool) -> Place | None:
        """Where to install: None for the user's capsules."""
        return workspace_place(workspace()) if in_workspace else None


@contextmanager
def workbench() -> Iterator[Workbench]:
    """Open and lock the home, and finish what a killed command left.

    Raises:
        HomeLockedError: Another process uses it.
        As `assemble` and `recover`.
    """
    # Here and below: imported when needed, because they load the whole kernel.
    from astrid_core.kernel.assembly import assemble, lifecycle_of  # noqa: PLC0415
    from astrid_core.kernel.install.journal import recover  # noqa: PLC0415
    from astrid_core.kernel.install.model import Tools  # noqa: PLC0415

    parts = assemble(home_path())
    try:
        lifecycle = lifecycle_of(parts)
        recover(parts.home, lifecycle=lifecycle, workspace=workspace())
        tools = Tools(
            engine=lambda: parts.engines.engine("component"),
            clock=parts.services.clock,
            audit=parts.audit,
            lifecycle=lifecycle,
            secrets=parts.secrets,
        )
        yield Workbench(parts, tools)
    finally:
        parts.release.close()


@asynccontextmanager
async def kernel_here() -> AsyncIterator[Kernel]:
    """A kernel in this process for the workspace at hand, whose plugins print into no result.

    Raises:
        AstridError: As `import_plugins` and `Kernel.open`.
    """
    from astrid_core.kernel.kernel import Kernel  # noqa: PLC0415 - loads everything

    with results_only():
        import_plugins()
        async with Kernel.open(workspace=workspace()) as kernel:
            yield kernel


def plugin_registry() -> Registry:
    """What the allowed plugins declare; nothing is locked."""
    from astrid_core.pluginhost import PluginHost  # noqa: PLC0415

    return PluginHost.open(allow_list(), boot=False).registry


@contextmanager
def inspecting_engine(registry: Registry, home: Home) -> Iterator[Engine | None]:
    """An engine to look at components with; None when no plugin supplies one."""
    from astrid_core.host.abi import load_abi  # noqa: PLC0415
    from astrid_core.kernel.engine_pool import EnginePool  # noqa: PLC0415

    chosen = settings().engines
    pool = EnginePool(
        choose=lambda kind: registry.choose_engine(kind, chosen.for_entry(kind)),
        cache_dir=home.path / "cache",
        seal_key=home.seal_key(),
        abi=load_abi(),
    )
    try:
        try:
            engine: Engine | None = pool.engine("component")
        except PluginLoadError:
            engine = None
        yield engine
    finally:
        pool.close()


def terminal_can_answer(*, is_json: bool) -> bool:
    """Whether somebody can be asked: a terminal, no JSON output, and `CI` is not set."""
    return not is_json and not os.environ.get("CI") and sys.stdin.isatty()
