from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from astrid_engine_wasm import aot
from astrid_engine_wasm.compiler import Compiler
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.engines import EngineEnvironment
from astrid_hookspecs.errors import ComponentError, EngineError, IntegrityError

Abi = Mapping[str, tuple[str, ...]]
SECRET = b"another home's secret, 32 bytes."


class Cached:
    """An engine whose cache the test reaches by a side door."""

    def __init__(self, folder: Path, abi: Abi) -> None:
        self.folder = folder / "cache"
        self.abi = abi
        self.engine = self.open()

    def open(self, *, secret: bytes = SECRET, abi: Abi | None = None) -> WasmEngine:
        return WasmEngine(
            EngineEnvironment(cache_dir=self.folder, seal_key=secret, abi=abi or self.abi)
        )

    @property
    def cache(self) -> aot.ArtefactCache:
        return self.engine._cache

    def artefact(self, component: Path) -> Path:
        return self.cache.path_of(blake3(component.read_bytes()).hexdigest())

    def load(self, component: Path) -> None:
        digest = blake3(component.read_bytes()).hexdigest()
        self.engine._preparer.load(self.engine._engine, component, expected=digest)


@pytest.fixture
def cached(tmp_path: Path, abi: Abi) -> Iterator[Cached]:
    made = Cached(tmp_path, abi)
    yield made
    made.engine.close()


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts what really is compiled."""
    done: list[int] = []
    compile_really = Compiler.compile

    def counted(self: Compiler, *arguments: Any, **options: Any) -> Any:
        done.append(1)
        return compile_really(self, *arguments, **options)

    monkeypatch.setattr(Compiler, "compile", counted)
    return done


def test_prepare_compiles_once_and_load_uses_it(
    bench: Any, cached: Cached, compilations: list[int]
) -> None:
    component = bench.component("acts.wat")
    cached.engine.prepare(component)
    cached.engine.prepare(component)
    cached.load(component)
    assert cached.engine.inspect(component).has_hook
    assert len(compilations) == 1
    artefact = cached.artefact(component)
    assert stat.S_IMODE(artefact.stat().st_mode) == 0o600
    assert stat.S_IMODE(cached.folder.stat().st_mode) == 0o700
    assert [path.name for path in cached.folder.iterdir()] == [artefact.name]


def test_two_threads_compile_a_component_once(
    bench: Any, cached: Cached, compilations: list[int]
) -> None:
    component = bench.component("acts.wat")
    threads = [threading.Thread(target=cached.load, args=(component,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compilations) == 1


def flip(offset: Callable[[bytes], int]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[offset(bytes(data))] ^= 0x10
        path.write_bytes(data)

    return change


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def replace_by_link(path: Path) -> None:
    real = path.with_name("elsewhere")
    path.rename(real)
    path.symlink_to(real)


def add_name(path: Path) -> None:
    path.with_name("second-name").hardlink_to(path)


def open_mode(path: Path) -> None:
    path.chmod(0o620)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").touch()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.slow
@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(flip(lambda _: 0), id="header"),
        pytest.param(flip(lambda data: len(data) // 2), id="body"),
        pytest.param(flip(lambda data: data.index(b'"fingerprint"')), id="metadata"),
        pytest.param(flip(lambda data: len(data) - 45), id="footer"),
        pytest.param(flip(lambda data: len(data) - 1), id="seal"),
        pytest.param(cut, id="truncated"),
        pytest.param(empty, id="empty"),
        pytest.param(append, id="appended"),
        pytest.param(replace_by_link, id="symlink"),
        pytest.param(add_name, id="hard-link"),
        pytest.param(open_mode, id="mode"),
        pytest.param(replace_by_directory, id="directory"),
        pytest.param(replace_by_pipe, id="pipe"),
    ],
)
def test_doubtful_artefact_is_compiled_again(
    bench: Any, cached: Cached, compilations: list[int], tamper: Callable[[Path], None]
) -> None:
    component = bench.component("acts.wat")
    cached.engine.prepare(component)
    artefact = cached.artefact(component)
    tamper(artefact)
    cached.load(component)
    assert len(compilations) == 2
    assert artefact.is_file()
    assert not artefact.is_symlink()
    cached.load(component)
    assert len(compilations) == 2


def test_artefact_of_another_component_is_not_taken(
    bench: Any, cached: Cached, compilations: list[int]
) -> None:
    one, other = bench.component("acts.wat"), bench.component("kit.wat")
    cached.engine.prepare(one)
    cached.engine.prepare(other)
    cached.artefact(one).rename(cached.artefact(other))
    assert cached.engine.inspect(other).has_install, "the metadata is its own as well"
    assert len(compilations) == 3


def test_artefact_of_another_home_or_abi_is_not_taken(
    bench: Any, cached: Cached, compilations: list[int]
) -> None:
    component = bench.component("acts.wat")
    cached.engine.prepare(component)
    other_home = cached.open(secret=b"x" * 32)
    other_home.prepare(component)
    other_home.close()
    assert len(compilations) == 2
    other_abi = cached.open(abi={**cached.abi, "astrid:new/host@1.0.0": ()})
    other_abi.prepare(component)
    assert len(compilations) == 3
    assert len(list(cached.folder.iterdir())) == 1, "the outdated artefact is gone"
    other_abi.close()


def test_artefact_of_another_machine_under_our_name_is_not_taken(
    bench: Any, cached: Cached, compilations: list[int]
) -> None:
    component = bench.component("acts.wat")
    cached.engine.prepare(component)
    other = cached.open(abi={**cached.abi, "astrid:new/host@1.0.0": ()})
    digest = blake3(component.read_bytes()).hexdigest()
    cached.artefact(component).rename(other._cache.path_of(digest))
    other.prepare(component)
    assert len(compilations) == 2
    other.close()


def test_component_that_changes_while_it_is_compiled_is_refused(
    bench: Any, cached: Cached, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = bench.component("acts.wat")
    other = bench.component("kit.wat").read_bytes()
    compile_really = Compiler.compile

    def swap(self: Compiler, *arguments: Any, **options: Any) -> Any:
        component.write_bytes(other)
        return compile_really(self, *arguments, **options)

    monkeypatch.setattr(Compiler, "compile", swap)
    with pytest.raises(ComponentError) as caught:
        cached.engine.prepare(component)
    assert caught.value.code == "engine.component.changed"
    assert list(cached.folder.iterdir()) == []


def test_unloadable_but_sealed_artefact_is_compiled_again(
    bench: Any, cached: Cached, compilations: list[int]
) -> None:
    component = bench.component("acts.wat")
    cached.engine.prepare(component)
    facts = cached.engine._preparer.facts(component)
    with cached.cache.writer() as writer:
        os.write(writer.descriptor, b"sealed, but not what the library wants")
        writer.commit(facts)
    cached.load(component)
    assert len(compilations) == 2


def test_nobody_can_write_to_an_artefact_while_it_is_verified_and_mapped(
    bench: Any, cached: Cached
) -> None:
    component = bench.component("acts.wat")
    cached.engine.prepare(component)
    artefact = cached.artefact(component)
    attempts: list[str] = []

    def attack(_path: str) -> None:
        try:
            os.close(os.open(artefact, os.O_WRONLY | os.O_NONBLOCK))
        except BlockingIOError:
            attempts.append("refused")

    digest = blake3(component.read_bytes()).hexdigest()
    assert cached.cache._use(digest, attack) is not None
    assert attempts == ["refused"]
    os.close(os.open(artefact, os.O_WRONLY | os.O_NONBLOCK))


def test_replacing_the_file_under_its_name_does_not_change_what_is_loaded(
    bench: Any, cached: Cached
) -> None:
    component = bench.component("acts.wat")
    cached.engine.prepare(component)
    artefact = cached.artefact(component)
    original = artefact.read_bytes()
    seen: list[bytes] = []

    def swap(path: str) -> None:
        evil = artefact.with_name("evil")
        evil.write_bytes(b"evil")
        evil.replace(artefact)
        seen.append(Path(path).read_bytes())

    cached.cache._use(blake3(component.read_bytes()).hexdigest(), swap)
    assert seen == [original]


@pytest.mark.parametrize("has_leases", [True, False])
def test_open_writer_sees_a_private_copy_loaded_instead(
    bench: Any,
    cached: Cached,
    compilations: list[int],
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_leases: bool,
) -> None:
    monkeypatch.setattr(aot, "_HAS_LEASES", has_leases)
    component = bench.component("acts.wat")
    cached.engine.prepare(component)
    artefact = cached.artefact(component)
    size = artefact.stat().st_size
    seen: list[bytes] = []
    with artefact.open("r+b") as file:

        def attack(path: str) -> None:
            file.write(b"evil" * (size // 4))
            file.flush()
            seen.append(Path(path).read_bytes()[:4])

        cached.cache._use(blake3(component.read_bytes()).hexdigest(), attack)
    assert seen == [b"\x7fELF"], "what was verified"
    cached.load(component)
    assert len(compilations) == 2, "and the damaged file was noticed"


def test_loading_survives_a_vandal(bench: Any, cached: Cached) -> None:
    component = bench.component("acts.wat")
    cached.engine.prepare(component)
    artefact = cached.artefact(component)
    stop = threading.Event()

    def vandalise() -> None:
        while not stop.wait(0.001):
            try:
                descriptor = os.open(artefact, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                continue
            os.pwrite(descriptor, b"\xcc" * 512, 4096)
            os.close(descriptor)

    vandal = threading.Thread(target=vandalise)
    vandal.start()
    try:
        for _ in range(60):
            try:
                cached.load(component)
            except EngineError as error:
                assert error.code == "engine.component.cache"  # noqa: PT017 - either is fine
    finally:
        stop.set()
        vandal.join()


def test_cache_directory_must_be_our_own(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    with pytest.raises(IntegrityError):
        aot.ArtefactCache(link, secret=SECRET, fingerprint="f")
    real.chmod(0o755)
    aot.ArtefactCache(real, secret=SECRET, fingerprint="f")
    assert stat.S_IMODE(real.stat().st_mode) == 0o700


def test_temporary_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".tmp-old", tmp_path / ".tmp-young"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    aot.ArtefactCache(tmp_path, secret=SECRET, fingerprint="f")
    assert not old.exists()
    assert young.exists()


def age(path: Path, *, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def test_what_is_forgotten_is_compiled_again_and_a_wrong_name_removes_nothing(
    bench: Any, cached: Cached, compilations: list[int]
) -> None:
    component, other = bench.component("count.wat"), bench.component("acts.wat")
    cached.load(component)
    cached.load(other)
    digest = blake3(component.read_bytes()).hexdigest()
    for name in ("", "*", "..", digest[:-1] + "?", digest.upper()):
        cached.engine.forget(name)
    assert cached.artefact(component).exists()
    cached.engine.forget(digest)
    assert not cached.artefact(component).exists()
    assert cached.artefact(other).exists()
    cached.engine.forget(digest)
    cached.load(component)
    assert len(compilations) == 3


def test_artefacts_that_nobody_uses_for_a_month_go(bench: Any, cached: Cached) -> None:
    names = ("count.wat", "acts.wat", "prompt.wat")
    used, unused, recent = (bench.component(name) for name in names)
    for component in (used, unused, recent):
        cached.load(component)
    cached.engine.close()
    for component, days in ((used, 31), (unused, 31), (recent, 29)):
        age(cached.artefact(component), days=days)
    cached.engine = cached.open()
    cached.load(used)
    assert cached.artefact(unused).exists()  # nothing is judged before it could be used
    cached.engine.close()
    assert not cached.artefact(unused).exists()
    assert cached.artefact(recent).exists()
    assert time.time() - cached.artefact(used).stat().st_mtime < 60
