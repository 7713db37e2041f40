"""Files of the workspace through a guest's host calls and the overlay, against plain `os` calls.

1 MiB is read and written by a guest on a real engine, with the gate, the mounts, the overlay and
the audit log behind it; the other side opens, moves the same bytes and closes. Listing 10,000
entries is measured at the directory handle of the overlay: one host call lists at most 4096.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import wasmtime
from wasmtime import Config, Engine, Store
from wasmtime.component import Component

from astrid_core.domain.manifest import parse_manifest
from astrid_core.host.abi import load_abi
from astrid_core.host.capsule import CapsuleHost
from astrid_core.kernel.assembly import Parts, assemble
from astrid_core.kernel.capsule_spec import capsule_context, capsule_spec
from astrid_engine_wasm import ffi
from astrid_engine_wasm.binding import GuestLinker
from astrid_hookspecs.engines import Call, Limits
from astrid_hookspecs.values import DEFAULT_PRINCIPAL
from tests.benchmarks.kernel_side import GUESTS, scratch
from tests.benchmarks.measure import Row, Sides, alternate, information, micro

MIB = 1024 * 1024
CALLS = 20
"""How often one entry of files.wat calls the host."""
ENTRIES = 10_000

MANIFEST = """
[package]
name = "files"
version = "1.0.0"
[[component]]
file = "files.wasm"
[capabilities]
fs_read = ["cwd://"]
fs_write = ["cwd://"]
"""


@contextmanager
def opened(directory: Path, workspace: Path) -> Iterator[Parts]:
    """The parts of a kernel with a workspace; no capsule is loaded."""
    parts = assemble(directory / "home", workspace=workspace)
    try:
        yield parts
    finally:
        parts.release.close()


def transfers(parts: Parts, workspace: Path, *, rounds: int) -> tuple[Sides, Sides]:
    """Reading and writing 1 MiB, seconds per call."""
    manifest = parse_manifest(MANIFEST)
    spec = capsule_spec(
        manifest, directory=workspace, component=None, component_hash=None, settings={}
    )
    context = capsule_context(manifest, spec, owner=DEFAULT_PRINCIPAL)
    host = CapsuleHost(context, services=parts.services)
    instance = host.open_instance(DEFAULT_PRINCIPAL, purpose="call")
    config = Config()
    config.epoch_interruption = True
    ffi.configure(config)
    engine = Engine(config)
    store = Store(engine)
    store.set_epoch_deadline(10_000_000)
    component = Component(engine, wasmtime.wat2wasm((GUESTS / "files.wat").read_text()))
    with closing(GuestLinker(engine, component, load_abi()).instantiate(store, instance)) as guest:
        instance.enter(Call(DEFAULT_PRINCIPAL, Limits()), deadline=None)
        data = os.urandom(MIB)
        outside = workspace.parent / "plain"
        reads = alternate(
            lambda: guest.call_void("astrid-install"),
            lambda: [plain_read(workspace / "in") for _ in range(CALLS)],
            times=(1, 3),
            rounds=rounds,
        )
        writes = alternate(
            lambda: guest.call_void("astrid-upgrade"),
            lambda: [plain_write(outside, data) for _ in range(CALLS)],
            times=(1, 3),
            rounds=rounds,
        )
    return reads, writes


def plain_read(path: Path) -> bytes:
    """Open, read 1 MiB, close."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, MIB)
    finally:
        os.close(descriptor)


def plain_write(path: Path, data: bytes) -> None:
    """Open, write, close."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def listing(parts: Parts, workspace: Path, *, rounds: int) -> Sides:
    """All names of a large directory, sorted, page by page, against `os.listdir` and a sort."""
    with parts.mounts.lease(DEFAULT_PRINCIPAL, "workspace") as lease:
        root = lease.mount.root
        root.replace("many/added-in-the-overlay", [b"x"])

        def page_by_page() -> list[str]:
            found: list[str] = []
            while True:
                page = root.names("many", after=found[-1] if found else None, limit=4096)
                found += page
                if len(page) < 4096:
                    return found

        if len(page_by_page()) != ENTRIES + 1:
            raise RuntimeError("the listing is not complete")
        return alternate(
            page_by_page,
            lambda: sorted(os.listdir(workspace / "many")),  # noqa: PTH208 - what is compared
            times=(3, 10),
            rounds=rounds,
        )


def _row(name: str, sides: Sides, *, per: int = 1) -> Row:
    detail = {"ours_us": micro(sides.ours / per), "plain_us": micro(sides.theirs / per)}
    return information(name, 1 / sides.ratio, unit="x", detail=detail)


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    rounds = 3 if quick else 7
    with scratch() as directory:
        workspace = directory / "workspace"
        (workspace / "many").mkdir(parents=True)
        (workspace / "in").write_bytes(os.urandom(MIB))
        for number in range(ENTRIES):
            (workspace / "many" / f"file-{number:05}").touch()
        with opened(directory, workspace) as parts:
            reads, writes = transfers(parts, workspace, rounds=rounds)
            names = listing(parts, workspace, rounds=rounds)
    return [
        _row("read-file of 1 MiB by a guest, against open, read, close", reads, per=CALLS),
        _row("write-file of 1 MiB by a guest, against open, write, close", writes, per=CALLS),
        _row(f"list {ENTRIES:,} names through the overlay, against a sorted os.listdir", names),
    ]
