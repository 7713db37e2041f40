"""The WIT files, the lock and the host functions describe one and the same interface."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from astrid_core.domain.abi import parse_signature
from astrid_core.domain.wit import WitSet, parse_document
from astrid_core.domain.wit_types import (
    Case,
    Document,
    EnumOf,
    Function,
    Interface,
    Resource,
    TypeDef,
    VariantOf,
)
from astrid_core.host.abi import load_abi
from astrid_core.host.lock import LOCK_PATH, SHAPES, WIT_DIR, build_lock, main, render_lock
from astrid_hookspecs.errors import ConfigError

FILES = sorted(path.relative_to(WIT_DIR).as_posix() for path in WIT_DIR.rglob("*.wit"))
WORLDS = ("capsule", "imports", "handler", "service")


def parse(name: str) -> Document:
    return parse_document((WIT_DIR / name).read_text("utf-8"), name=name)


def test_the_lock_is_what_the_wit_files_say() -> None:
    lock = build_lock(WIT_DIR)
    assert LOCK_PATH.read_text("utf-8") == render_lock(lock)
    assert dict(load_abi()) == lock


@pytest.mark.slow
def test_check_notices_a_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    copy = tmp_path / "wit"
    shutil.copytree(WIT_DIR, copy)
    kv = copy / "deps" / "kv.wit"
    kv.write_text(
        kv.read_text("utf-8").replace(
            "key: string) -> result<option", "k: string) -> result<option"
        )
    )
    assert main(["--check", "--wit", str(copy)]) == 1
    assert "out of date" in capsys.readouterr().err
    kv.write_text("package astrid:kv@1.0.0; interface host {")
    assert main(["--check", "--wit", str(copy)]) != 0
    assert "deps/kv.wit:1: " in capsys.readouterr().err


def test_a_missing_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"process-c\.wit"):
        build_lock(tmp_path)


def test_every_signature_in_the_lock_is_canonical() -> None:
    for name, texts in load_abi().items():
        for text in texts:
            assert str(parse_signature(text)) == text
        interface, _, function = name.partition("#")
        assert interface in load_abi()
        assert bool(texts) == bool(function and not function.startswith("[resource]"))


@pytest.mark.parametrize("name", FILES)
def test_one_versioned_package_per_file_named_after_it(name: str) -> None:
    document = parse(name)
    assert document.package is not None
    assert document.nested == ()
    assert document.package.namespace == "astrid"
    version = document.package.version
    stem = Path(name).stem
    if name.startswith("alternates/"):
        assert stem.rpartition("-")[0] == document.package.name
        assert any(name in shapes for shapes in SHAPES.values())
    elif stem == "http-1.1":
        assert (document.package.name, version) == ("http", "1.1.0")
    else:
        assert (document.package.name, version) == (stem, "1.0.0")


@pytest.mark.parametrize("name", FILES)
def test_everything_is_documented(name: str) -> None:
    document = parse(name)
    missing = [interface.name for interface in document.interfaces if not interface.docs]
    missing += [world.name for world in document.worlds if not world.docs]
    for interface in document.interfaces:
        missing += undocumented(interface)
    assert missing == []


def undocumented(interface: Interface) -> list[str]:
    parts: list[TypeDef | Resource | Function | Case] = [
        *interface.types,
        *interface.resources,
        *interface.functions,
    ]
    for definition in interface.types:
        if isinstance(definition.type, VariantOf | EnumOf):
            parts += definition.type.cases
    for resource in interface.resources:
        parts += resource.functions
    return [f"{interface.name}.{part.name}" for part in parts if not part.docs]


def test_every_package_can_be_imported_through_the_capsule_world() -> None:
    worlds = {world.name: world for world in parse("capsule.wit").worlds}
    assert set(worlds) == set(WORLDS)
    imported = {str(item.item) for item in worlds["imports"].items}
    with_functions = {name.partition("#")[0] for name, texts in load_abi().items() if texts}
    older = {"astrid:http/host@1.0.0"}  # builders merge the two versions, which differ
    assert imported == with_functions - older


def test_error_cases_keep_their_order() -> None:
    """The order is the discriminant. Spec: host-abi 18.1."""
    wits = WitSet([parse(name) for name in FILES if not name.startswith("alternates/")])
    cases = {}
    for interface_id, declared in wits.interfaces.items():
        for definition in declared.interface.types:
            if isinstance(definition.type, VariantOf) and "error" in definition.name:
                names = [case.name for case in definition.type.cases]
                cases[interface_id] = " ".join(names)
    http = (
        "capability-denied invalid-request dns-error airlock-rejected tls-error timeout "
        "connection-error body-too-large closed quota "
    )
    assert cases == {
        "astrid:approval/host@1.0.0": "invalid-input timeout store-unavailable unknown",
        "astrid:elicit/host@1.0.0": (
            "not-in-lifecycle timeout cancelled invalid-input store-unavailable unknown"
        ),
        "astrid:fs/host@1.0.0": (
            "not-found access capability-denied boundary-escape invalid-path would-block "
            "is-directory not-directory not-empty too-large quota cross-vfs already-exists closed "
            "unknown"
        ),
        "astrid:http/host@1.0.0": http + "protocol unknown",
        "astrid:http/host@1.1.0": http
        + "redirect-blocked too-many-redirects integrity-mismatch scheme-denied "
        "decompression-bomb protocol unknown",
        "astrid:identity/host@1.0.0": (
            "capability-denied invalid-input user-not-found link-not-found already-linked "
            "store-unavailable unknown"
        ),
        "astrid:io/poll@1.0.0": "invalid-input closed too-large cancelled unknown",
        "astrid:io/streams@1.0.0": "last-operation-failed closed",
        "astrid:ipc/host@1.0.0": (
            "capability-denied invalid-input closed rate-limited backpressure quota timeout unknown"
        ),
        "astrid:kv/host@1.0.0": "invalid-key too-large quota cas-mismatch unknown",
        "astrid:net/host@1.0.0": (
            "would-block closed capability-denied airlock-rejected connection-refused "
            "connection-reset timeout address-in-use address-not-available name-unresolvable "
            "invalid-handle not-tcp quota unknown"
        ),
        "astrid:process/host@1.0.0": (
            "capability-denied invalid-input boundary-escape quota too-large closed cancelled "
            "wait-timeout unknown"
        ),
        "astrid:sys/host@1.0.0": (
            "capability-denied config-key-reserved too-large registry-unavailable cancelled unknown"
        ),
        "astrid:uplink/host@1.0.0": (
            "capability-denied invalid-input invalid-profile unknown-uplink no-session quota "
            "unknown"
        ),
    }


def test_functions_that_changed_shape_have_every_shape_in_the_lock() -> None:
    abi = load_abi()
    spawn = abi["astrid:process/host@1.0.0#spawn"]
    assert ["file-injections" in text for text in spawn] == [True, False, False]
    assert ["persist-unsupported" in text for text in spawn] == [True, True, False]
    assert len(abi["astrid:process/host@1.0.0#[method]process-handle.os-pid"]) == 2
    assert len(abi["astrid:process/host@1.0.0#attach"]) == 1
    assert len(abi["astrid:sys/host@1.0.0#get-config"]) == 1
    assert "astrid:sys/host@1.0.0#enumerate-capabilities" in abi


def bindings(wit: Path, world: str, out: Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("componentize-py", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("componentize-py is not installed")
    return subprocess.run(
        [tool, "-d", str(wit), "-w", world, "bindings", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("world", WORLDS)
def test_the_tool_chain_accepts_every_world(tmp_path: Path, world: str) -> None:
    done = bindings(WIT_DIR, world, tmp_path / "out")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("alternates/")])
def test_the_tool_chain_accepts_every_alternate(tmp_path: Path, name: str) -> None:
    shutil.copytree(WIT_DIR, tmp_path / "wit")
    package = Path(name).stem.rpartition("-")[0]
    shutil.copy(WIT_DIR / name, tmp_path / "wit" / "deps" / f"{package}.wit")
    done = bindings(tmp_path / "wit", "capsule", tmp_path / "out")
    assert done.returncode == 0, done.stderr
