"""Attack: somebody can write into the directory that holds compiled components.

Compiled components are native code, so loading a planted one would run the attacker's instructions
inside the kernel. What is planted must never be mapped, and refusing it must not hurt bystanders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from astrid_core.host.abi import load_abi
from astrid_engine_wasm import seal
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.engines import EngineEnvironment

COMPONENT = bytes(wat2wasm("(component (core module (memory 1)))"))
OTHER = bytes(wat2wasm("(component (core module (memory 2)))"))


class Home:
    """A home with an engine, and what an attacker sees of it."""

    def __init__(self, folder: Path, *, secret: bytes) -> None:
        self.cache = folder / "engine"
        self.component = folder / "capsule.wasm"
        folder.mkdir()
        self.component.write_bytes(COMPONENT)
        self.engine = WasmEngine(
            EngineEnvironment(cache_dir=self.cache, seal_key=secret, abi=load_abi())
        )
        self.engine.prepare(self.component)

    @property
    def artefact(self) -> Path:
        (found,) = self.cache.glob("*.aot")
        return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home", secret=b"v" * 32)
    yield made
    made.engine.close()


def test_artefact_sealed_with_another_key_is_replaced(home: Home, tmp_path: Path) -> None:
    attacker = Home(tmp_path / "attacker", secret=b"a" * 32)
    attacker.engine.close()
    planted = attacker.artefact.read_bytes()
    home.artefact.write_bytes(planted)
    assert home.engine.inspect(home.component).size_bytes == len(COMPONENT)
    again = home.artefact.read_bytes()
    assert again != planted
    assert seal.verify(again, key=seal.derive_seal_key(b"v" * 32)), "compiled and sealed here again"


def test_a_file_of_any_size_is_replaced_at_once(home: Home) -> None:
    os.truncate(home.artefact, 1 << 42)
    assert home.engine.inspect(home.component).size_bytes == len(COMPONENT)
    assert home.artefact.stat().st_size < 1 << 20


def test_honest_artefact_of_another_component_is_replaced(home: Home, tmp_path: Path) -> None:
    good = home.artefact
    other = tmp_path / "other.wasm"
    other.write_bytes(OTHER)
    home.engine.prepare(other)
    (swapped,) = set(home.cache.glob("*.aot")) - {good}
    planted = swapped.read_bytes()
    good.write_bytes(planted)
    assert home.engine.inspect(home.component).size_bytes == len(COMPONENT)
    assert good.read_bytes() != planted


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_link_is_removed_without_touching_its_target(home: Home, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "precious"
    if kind == "file":
        target.write_text("precious")
    else:
        target.mkdir()
        (target / "content").write_text("precious")
    artefact = home.artefact
    artefact.unlink()
    artefact.symlink_to(target)
    home.engine.prepare(home.component)
    assert artefact.is_file()
    assert not artefact.is_symlink()
    kept = target if kind == "file" else target / "content"
    assert kept.read_text() == "precious"


def test_directory_of_links_is_removed_without_following_them(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (target / "content").write_text("precious")
    artefact = home.artefact
    artefact.unlink()
    artefact.mkdir()
    (artefact / "link").symlink_to(target)
    home.engine.prepare(home.component)
    assert artefact.is_file()
    assert (target / "content").read_text() == "precious"


def test_seal_key_and_artefact_path_do_not_reach_messages_or_repr(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.artefact.write_bytes(b"damaged")
    home.engine.prepare(home.component)
    assert "is not used" in caplog.text
    assert str(home.cache) not in caplog.text
    assert "v" * 32 not in caplog.text
    environment = EngineEnvironment(cache_dir=home.cache, seal_key=b"v" * 32, abi={})
    assert "v" * 32 not in repr(environment)
