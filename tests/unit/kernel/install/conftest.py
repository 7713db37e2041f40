"""What the tests of the installer share: a workshop with a home, and an engine for tiny hooks.

The engine is real as far as the installer goes: it reads the component's file, refuses what it
cannot read, says which hooks there are and compiles ahead of time. Its components are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.builtin.system_clock import SystemClock
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.installer import stage
from astrid_core.kernel.install.lifecycle import KvWrites, LifecycleRequest
from astrid_core.kernel.install.model import InstallResult, Tools
from astrid_core.kernel.install.pack import pack_capsule
from astrid_core.kernel.install.places import Place
from astrid_core.kernel.install.sources import find_source
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.engines import (
    CapsuleSpec,
    ComponentReport,
    HostApi,
    LoadedCapsule,
    Progress,
)
from astrid_hookspecs.errors import AuditError, ComponentError, EngineError, GuestTrapError
from astrid_hookspecs.stores import KvWrite
from tests.support.secrets import Vault

NAMESPACE = "default:capsule:notes"


class JsonEngine:
    """Its components are `{"install": ..., "upgrade": ...}`; see `JsonHooks`."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def inspect(self, component: Path) -> ComponentReport:
        data = component.read_bytes()
        try:
            hooks = json.loads(data)
        except ValueError as error:
            raise ComponentError("this is not a component") from error
        return ComponentReport(
            digest=blake3(data).hexdigest(),
            size_bytes=len(data),
            imports=(),
            exports=(),
            has_hook=False,
            has_run=False,
            has_install="install" in hooks,
            has_upgrade="upgrade" in hooks,
        )

    def prepare(self, component: Path, *, progress: Progress | None = None) -> None:
        report = self.inspect(component)
        if progress is not None:
            progress(f"compiling {component.name}", 1.0)
        (self._cache / report.digest).write_bytes(component.read_bytes())

    def forget(self, component_hash: str) -> None:
        del component_hash

    def load(self, spec: CapsuleSpec, host: HostApi) -> LoadedCapsule:
        raise EngineError(f"this engine only installs {spec.id}, {host!r}")

    def close(self) -> None:
        pass


class JsonHooks:
    """A hook is a map of keys to write, `"trap"`, or `"copy"`, which writes what it was told."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def check(self, request: LifecycleRequest) -> None:
        if "unfit" in json.loads(request.component.read_bytes()):
            raise ComponentError("it does not fit its manifest")

    def run(self, request: LifecycleRequest) -> KvWrites:
        hook = json.loads(request.component.read_bytes())[request.phase.removeprefix("astrid-")]
        if hook == "trap":
            raise GuestTrapError("unreachable executed")
        if hook == "copy":
            hook = {"previous": str(request.previous_version), **request.environment}
        namespace = f"{request.principal}:capsule:{request.manifest.name}"
        return {namespace: [KvWrite(key, value.encode()) for key, value in hook.items()]}

    def apply(self, writes: KvWrites) -> None:
        store = SqliteKvStore(self._state)
        try:
            for namespace, batch in writes.items():
                store.apply(namespace, batch)
        finally:
            store.close()

    def stored(self, writes: KvWrites) -> KvWrites:
        store = SqliteKvStore(self._state)
        try:
            return {
                namespace: [KvWrite(write.key, store.get(namespace, write.key)) for write in batch]
                for namespace, batch in writes.items()
            }
        finally:
            store.close()

    def read(self) -> dict[str, str]:
        """What the hooks of `notes` have written so far."""
        store = SqliteKvStore(self._state)
        try:
            keys = store.keys(NAMESPACE, "", after=None, limit=100).keys
            return {key: (store.get(NAMESPACE, key) or b"").decode() for key in keys}
        finally:
            store.close()


@dataclass
class MemoryAudit:
    """Keeps entries, or refuses them when it is full."""

    entries: list[AuditEntry] = field(default_factory=list)
    is_full: bool = False

    def append(self, entry: AuditEntry, *, durable: bool = False) -> None:
        assert durable or entry.outcome == "failed"
        if self.is_full:
            raise AuditError("no space left")
        self.entries.append(entry)


@dataclass
class Workshop:
    """A home, sources beside it, and short ways to install them."""

    root: Path
    home: Home
    hooks: JsonHooks
    secrets: Vault = field(default_factory=Vault)
    audit: MemoryAudit = field(default_factory=MemoryAudit)

    def tools(self, **changes: Any) -> Tools:
        engine = JsonEngine(self.home.var)
        fields: dict[str, Any] = {
            "engine": lambda: engine,
            "clock": SystemClock(),
            "audit": self.audit,
            "lifecycle": self.hooks,
            "secrets": self.secrets,
            **changes,
        }
        return Tools(**fields)

    def source(
        self,
        *,
        name: str = "notes",
        version: str = "1.0.0",
        manifest: str = "",
        component: Mapping[str, Any] | bytes | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Path:
        """A capsule directory; with a component if one is given."""
        directory = self.root / "sources" / f"{name}-{version}"
        directory.mkdir(parents=True, exist_ok=True)
        text = f'[package]\nname = "{name}"\nversion = "{version}"\n'
        if component is not None:
            text += '[[component]]\nfile = "core.wasm"\n'
            data = component if isinstance(component, bytes) else json.dumps(component).encode()
            (directory / "core.wasm").write_bytes(data)
        (directory / "Capsule.toml").write_text(text + manifest)
        for path, content in (files or {}).items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(content)
        return directory

    def pack(self, directory: Path) -> Path:
        return pack_capsule(directory, directory.parent / f"{directory.name}.capsule").path

    def install(
        self,
        source: Path,
        answers: Mapping[str, str] | None = None,
        *,
        place: Place | None = None,
        progress: Progress | None = None,
        **changes: Any,
    ) -> InstallResult:
        found = find_source(str(source), cwd=self.root)
        with stage(self.home, found, tools=self.tools(**changes), place=place) as staged:
            return staged.commit(staged.answers(answers or {}), progress=progress)

    @property
    def capsules(self) -> Path:
        return self.home.path / "home" / "default" / ".local" / "capsules"

    def leftovers(self) -> list[str]:
        """Everything in the capsule directory that is no installed capsule, and the journal."""
        names = [path.name for path in self.capsules.iterdir()] if self.capsules.exists() else []
        journal = self.home.var / "install-journal.json"
        return [name for name in names if name.startswith(".")] + [journal.name] * journal.exists()


@pytest.fixture
def make_workshop() -> Callable[[Path], Workshop]:
    def make(root: Path) -> Workshop:
        home = Home.open(root / "home")
        state = home.var / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        return Workshop(root, home, JsonHooks(state))

    return make


@pytest.fixture
def workshop(tmp_path: Path, make_workshop: Callable[[Path], Workshop]) -> Workshop:
    return make_workshop(tmp_path)
