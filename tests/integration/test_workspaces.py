"""Workspaces of several principals: real guests on the kernel's own parts, overlay included."""

from __future__ import annotations

import importlib
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from astrid_core.domain.manifest import parse_manifest
from astrid_core.host.abi import load_abi
from astrid_core.host.capsule import CapsuleHost
from astrid_core.kernel.assembly import Parts, assemble, changes_of
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_core.kernel.capsule_spec import capsule_context, capsule_spec
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.engines import Call, EngineEnvironment, Limits
from astrid_hookspecs.errors import AuditError, PluginLoadError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal
from tests.support.guests import engine_guest

EXAMPLE = Path(__file__).parents[2] / "examples" / "backend_extension" / "src"
NOT_FOUND, DENIED, ACCESS, UNKNOWN = "!a", "!c", "!b", "!o"
Guest = Callable[..., str | None]
MANIFEST = """
[package]
name = "files"
version = "1.0.0"
[capsule]
state = "{state}"
[[component]]
file = "files.wasm"
[capabilities]
fs_read = ["cwd://", "home://", "scratch://"]
fs_write = ["cwd://", "home://", "scratch://"]
"""


class World:
    """A project, a home, and guests."""

    def __init__(self, base: Path, stack: ExitStack) -> None:
        self.base = base
        self.stack = stack
        self.workspace = base / "workspace"
        self.home = base / "home"
        self.workspace.mkdir()
        (self.workspace / "note").write_text("on the disk")
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        if self._parts is None:
            self._parts = assemble(self.home, workspace=self.workspace)
            self.stack.callback(self.stop)
        return self._parts

    def configure(self, text: str) -> None:
        (self.home / "etc").mkdir(parents=True, mode=0o700)
        self.home.chmod(0o700)
        (self.home / "etc" / "config.toml").write_text(text)

    def stop(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.release.close()

    def guest(self, *, state: Literal["shared", "fresh"] = "shared") -> Guest:
        """Calls a component: the first letter of the action says what, the rest is the path."""
        component = self.base / "files.wasm"
        component.write_bytes(engine_guest("files.wat"))
        cache = self.base / "cache"
        cache.mkdir(mode=0o700, exist_ok=True)
        engine = WasmEngine(EngineEnvironment(cache, b"s" * 32, load_abi()))
        self.stack.callback(engine.close)
        manifest = parse_manifest(MANIFEST.format(state=state))
        spec = capsule_spec(
            manifest,
            directory=self.base,
            component=component,
            component_hash=engine.inspect(component).digest,
            settings={},
        )
        assert spec.state == state
        context = capsule_context(manifest, spec, owner=DEFAULT_PRINCIPAL)
        loaded = engine.load(spec, CapsuleHost(context, services=self.parts.services))
        self.stack.callback(loaded.unload, grace_s=1.0)

        def invoke(action: str, payload: bytes = b"", *, principal: str = "ada") -> str | None:
            return loaded.invoke(action, payload, Call(Principal(principal), Limits())).data

        return invoke

    def listing(self, principal: str) -> list[str]:
        with self.parts.mounts.lease(Principal(principal), "workspace") as lease:
            return lease.mount.root.names("", after=None, limit=99)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


@pytest.mark.parametrize("state", ["shared", "fresh"])
def test_two_principals_see_only_their_own_edits(
    world: World, state: Literal["shared", "fresh"]
) -> None:
    guest = world.guest(state=state)
    assert guest("wnote", b"by ada", principal="ada") == ""
    assert guest("wada", b"only ada", principal="ada") == ""
    assert guest("rnote", principal="bob") == "on the disk"
    assert guest("wnote", b"by bob", principal="bob") == ""
    assert guest("wbob", b"only bob", principal="bob") == ""
    assert guest("rnote", principal="ada") == "by ada"
    assert guest("rnote", principal="bob") == "by bob"
    assert guest("rada", principal="bob") == NOT_FOUND
    assert guest("rbob", principal="ada") == NOT_FOUND
    assert (world.listing("ada"), world.listing("bob")) == (["ada", "note"], ["bob", "note"])
    assert world.listing("cem") == ["note"]
    assert sorted(path.name for path in world.workspace.iterdir()) == ["note"]
    assert (world.workspace / "note").read_text() == "on the disk"


def test_one_principals_commit_is_the_others_conflict(world: World) -> None:
    guest = world.guest()
    for principal in ("ada", "bob"):
        guest("wnote", f"by {principal}".encode(), principal=principal)
    ada, bob = (changes_of(world.parts, Principal(name)) for name in ("ada", "bob"))
    assert list(ada.commit().committed) == ["note"]
    assert (world.workspace / "note").read_text() == "by ada"
    assert list(bob.commit().conflicts) == ["note"]
    assert (world.workspace / "note").read_text() == "by ada"
    assert guest("rnote", principal="bob") == "by bob"
    assert bob.rollback() == ["note"]
    assert guest("rnote", principal="bob") == "by ada"


def test_edits_survive_a_restart_and_the_eviction_of_the_mount(world: World) -> None:
    guest = world.guest()
    guest("wnote", b"by ada")
    world.stop()
    again = world.guest()
    assert again("rnote") == "by ada"
    for number in range(3):
        world.parts.mounts._capacity = 1
        assert again("rnote", principal=f"other{number}") == "on the disk"
    assert world.parts.mounts.open_count() <= 2
    assert again("rnote") == "by ada"


def test_write_denied_when_the_storage_limit_is_used_up(world: World) -> None:
    guest = world.guest()
    profile = world.home / "etc" / "profiles" / "ada.toml"
    profile.write_text("[quotas]\nmax_storage_bytes = 4096\n")
    assert guest("wsmall", b"x" * 1000) == ""
    assert guest("wlarge", b"x" * 5000) == "!k"
    assert guest("rlarge") == NOT_FOUND
    assert guest("wlarge", b"x" * 5000, principal="bob") == ""
    changes_of(world.parts, Principal("ada")).rollback()
    assert guest("wsmall", b"x" * 3000) == ""


def test_home_denied_when_the_principal_has_none(world: World) -> None:
    guest = world.guest()
    assert guest("whome://x", b"x", principal="ada") == DENIED
    assert guest("whome://x", b"x", principal="default") == ""
    assert guest("rhome://x", principal="default") == "x"
    assert guest("rhome://.config/env/x", principal="default") == DENIED
    assert guest("whome://.local/capsules/x", b"x", principal="default") == DENIED


def test_the_runtime_home_is_never_part_of_the_workspace(world: World) -> None:
    world.workspace = world.base
    (world.base / "note").write_text("on the disk")
    guest = world.guest()
    key = world.home / "keys" / "runtime.key"
    assert key.stat().st_size == 32
    assert guest("rhome/keys/runtime.key") == DENIED
    assert guest("whome/etc/config.toml", b"x") == DENIED
    assert "home" not in world.listing("ada")
    assert guest("rnote") == "on the disk"


def test_workspace_read_only_when_no_overlay_is_installed(world: World) -> None:
    world.configure("")
    (world.home / "etc" / "plugins.toml").write_text('[plugins]\ndisabled = ["vfs-overlay"]\n')
    guest = world.guest()
    assert guest("rnote") == "on the disk"
    assert guest("wnote", b"changed") == ACCESS
    assert (world.workspace / "note").read_text() == "on the disk"


def test_a_configured_file_system_of_a_plugin(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.configure(
        f'[mounts.scratch]\nurl = "memory://{world.base.name}"\naccess = "write"\n'
        f'[mounts.fixed]\nurl = "memory://{world.base.name}"\n'
    )
    with pytest.raises(PluginLoadError, match="no plugin serves memory://"):
        assemble(world.home, workspace=world.workspace)
    monkeypatch.syspath_prepend(EXAMPLE)
    plugin: Any = importlib.import_module("astrid_vfs_fsspec.plugin")
    parts = assemble(world.home, workspace=world.workspace, plugins={"fsspec": plugin})
    world._parts = parts
    world.stack.callback(world.stop)
    guest = world.guest()
    assert guest("wscratch://a", b"in memory", principal="ada") == ""
    assert guest("rscratch://a", principal="bob") == "in memory"
    assert guest("rfixed://a") == DENIED  # the manifest does not list it
    assert guest("rnowhere://a") == "!e"
    with parts.mounts.lease(Principal("ada"), "fixed") as lease:
        assert lease.mount.root.stat("a").size == 9
        with pytest.raises(Exception, match="accepts no changes"):
            lease.mount.root.unlink("a")


def test_nothing_happens_when_it_cannot_be_recorded(world: World) -> None:
    """A limit on the size of files stands for a full disk."""
    guest = world.guest()
    guest("wnote", b"before")
    log = max(world.parts.home.audit.rglob("*.jsonl"), key=lambda path: path.stat().st_size)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        assert guest("wnote", b"after") == UNKNOWN
        assert guest("rnote") == UNKNOWN
        with pytest.raises(AuditError):
            changes_of(world.parts, Principal("ada")).commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert guest("rnote") == "before"
    assert (world.workspace / "note").read_text() == "on the disk"
    assert guest("wnote", b"after") == ""
    assert list(changes_of(world.parts, Principal("ada")).commit().committed) == ["note"]


def test_what_goes_along_with_a_commit_is_on_record_before_the_disk_changes(world: World) -> None:
    """A new directory above the chosen file."""
    guest = world.guest()
    ada = Principal("ada")
    with world.parts.mounts.lease(ada, "workspace") as lease:
        lease.mount.root.mkdir("new")
    assert guest("wnew/file", b"made") == ""
    report = changes_of(world.parts, ada).commit(["new/file"])
    assert list(report.committed) == ["new", "new/file"]
    found = entries(AuditPlaces(world.home / "var" / "audit"), Query(action="overlay.commit"))
    assert [row["action"]["resource"] for row in found] == [
        "workspace://new",
        "workspace://new/file",
    ]
