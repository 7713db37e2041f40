"""The work of one compiling process: read, validate, compare with the ABI, compile, write.

Runs between a fork and `_exit` in a process of its own, under resource limits, with three
descriptors and nothing else. It is trusted with nothing: hostile bytes go through the compiler
here, and whatever it answers is checked by the parent as far as that is possible.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import blake3
from wasmtime import Engine, WasmtimeError
from wasmtime.component import Component

from astrid_engine_wasm import scan
from astrid_engine_wasm.binary import BinaryError
from astrid_engine_wasm.footprint import Footprint, read_footprint
from astrid_engine_wasm.gauge import GAUGE, with_gauge
from astrid_engine_wasm.merged import check_versions
from astrid_engine_wasm.messages import clean_message
from astrid_engine_wasm.prune import prune
from astrid_engine_wasm.report import ComponentFacts
from astrid_engine_wasm.signature import check_exports, check_imports
from astrid_hookspecs.engines import ComponentReport
from astrid_hookspecs.errors import ComponentError, EngineError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_READ_CHUNK: Final = 1 << 20


class JobLimits(NamedTuple):
    """What one compilation may use.

    Attributes:
        address_space_bytes: `RLIMIT_AS`.
        cpu_s: `RLIMIT_CPU`.
        file_bytes: `RLIMIT_FSIZE`, so also the largest artefact.
        wall_s: Elapsed time after which the process is killed.
    """

    address_space_bytes: int
    cpu_s: int
    file_bytes: int
    wall_s: float


def confine(limits: JobLimits, *, parent: int) -> None:
    """Put the resource limits on this process and tie its life to its parent's."""
    for what, bound in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.address_space_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
    ):
        _, hard = resource.getrlimit(what)
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        try:
            resource.setrlimit(what, (allowed, allowed))
        except (ValueError, OSError):
            if sys.platform == "linux":  # other systems lack some of them
                raise
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before the tie was made
        os._exit(1)


def run_job(
    engine: Engine,
    *,
    source: int,
    output: int,
    abi: Mapping[str, tuple[str, ...]],
) -> bytes:
    """Compile the component behind one descriptor into another.

    Args:
        engine: Made before the fork; nothing has been compiled with it.
        source: Descriptor of the component file.
        output: Descriptor that the artefact is written to, from its start.
        abi: Accepted signature texts.

    Returns:
        JSON text: `{"report": ...}` or `{"error": {"code", "message", "hint"}}`.
    """
    try:
        answer = _compile(engine, source=source, output=output, abi=abi)
    except EngineError as error:
        answer = {"error": error.to_json()}
    return json.dumps(answer).encode()


def _compile(
    engine: Engine, *, source: int, output: int, abi: Mapping[str, tuple[str, ...]]
) -> dict[str, object]:
    wasm = _read_all(source)
    scan.check_is_component(wasm)
    component = compile_component(engine, wasm)
    facts = describe_component(engine, component, wasm, abi=abi)
    view = memoryview(prune(component.serialize()))
    offset = 0
    while offset < len(view):
        offset += os.pwrite(output, view[offset : offset + _READ_CHUNK], offset)
    return {"report": facts.to_json()}


def compile_component(engine: Engine, wasm: bytes) -> Component:
    """Compile a component, with a gauge of its memories where it can have one.

    Raises:
        ComponentError: It is not valid, or has an export of the gauge's name.
    """
    with suppress(BinaryError, WasmtimeError):
        gauged = with_gauge(wasm, read_footprint(wasm))
        if gauged is not None:
            return Component(engine, gauged)
    try:
        component = Component(engine, wasm)
    except WasmtimeError as error:
        raise ComponentError(
            f"the component is damaged or uses something unsupported: {clean_message(str(error))}",
            code="engine.component.invalid",
            hint="build it again; if it was downloaded, compare its hash",
        ) from error
    if GAUGE in component.type.exports(engine):
        raise ComponentError(
            f"the component exports {GAUGE}, which the engine keeps for itself",
            code="engine.component.export",
            hint="give the export another name",
        )
    return component


def describe_component(
    engine: Engine, component: Component, wasm: bytes, *, abi: Mapping[str, tuple[str, ...]]
) -> ComponentFacts:
    """Check a compiled component against the ABI and say what it is.

    Raises:
        ComponentError: An import or export has another shape, versions of an interface were
            merged, or memories cannot be bounded.
    """
    accepted = check_imports(component, engine, abi)
    check_versions(wasm, abi)
    names = check_exports(component, engine)
    report = ComponentReport(
        digest=blake3.blake3(wasm).hexdigest(),
        size_bytes=len(wasm),
        imports=tuple(sorted(component.type.imports(engine))),
        exports=tuple(sorted(names)),
        has_hook=scan.HOOK in names,
        has_run=scan.RUN in names and scan.has_export(wasm, scan.RUN),
        has_install=scan.INSTALL in names and scan.has_export(wasm, scan.INSTALL),
        has_upgrade=scan.UPGRADE in names and scan.has_export(wasm, scan.UPGRADE),
    )
    return ComponentFacts(report, _footprint(wasm), accepted)


def _footprint(wasm: bytes) -> Footprint:
    try:
        return read_footprint(wasm)
    except BinaryError as error:
        raise ComponentError(
            f"the memory use of the component cannot be bounded: {error}",
            code="engine.component.memories",
            hint="build it with a tool chain that embeds each core module as such",
        ) from error


def _read_all(descriptor: int) -> bytes:
    parts: list[bytes] = []
    offset = 0
    while part := os.pread(descriptor, _READ_CHUNK, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def close_all_but(keep: frozenset[int]) -> None:
    """Close every descriptor that the job does not need."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - names are all that is wanted
        descriptor = int(name)
        if descriptor not in keep:
            with suppress(OSError):
                os.close(descriptor)
