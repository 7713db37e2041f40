"""What a hostile or broken component can do to the kernel: nothing but fail."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.engines import Call, EngineEnvironment, GuestResult
from astrid_hookspecs.errors import (
    ComponentError,
    EngineError,
    GuestTimeoutError,
    GuestTrapError,
)

MakeCall = Callable[..., Call]


def mutate(binary: bytes, source: random.Random) -> bytes:
    """One to three random changes: a bit, a byte, a swap, a cut, a repeated piece."""
    data = bytearray(binary)
    for _ in range(source.randint(1, 3)):
        where = source.randrange(8, len(data))
        match source.randrange(5):
            case 0:
                data[where] ^= 1 << source.randrange(8)
            case 1:
                data[where] = source.randrange(256)
            case 2:
                other = source.randrange(8, len(data))
                data[where], data[other] = data[other], data[where]
            case 3:
                del data[where : where + source.randint(1, 8)]
            case _:
                data[where:where] = data[where : where + source.randint(1, 8)]
    return bytes(data)


@pytest.mark.slow
def test_1000_mutated_components_load_or_are_refused(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    source = random.Random(20260)  # noqa: S311 - a seed, so that failures repeat
    binaries = [bench.component(name).read_bytes() for name in ("acts.wat", "kit.wat")]
    outcomes: Counter[str] = Counter()
    for number in range(1000):
        path = bench.component(mutate(binaries[number % 2], source))
        try:
            capsule = bench.load(path.read_bytes(), host, run_class="call")
        except ComponentError as error:
            outcomes[error.code if error.hint else "no hint"] += 1
            continue
        try:
            result = capsule.invoke("echo", b"{}", make_call(timeout_s=1.0))
        except EngineError as error:
            outcomes[type(error).__name__] += 1
        else:
            assert isinstance(result, GuestResult)
            outcomes["ran"] += 1
        capsule.unload(grace_s=0.0)
    assert outcomes.total() == 1000
    assert outcomes["engine.component.compiler-crashed"] == 0
    assert outcomes["no hint"] == 0
    assert outcomes["ran"] > 20
    assert outcomes["engine.component.invalid"] > 300
    assert host.open_count == 0


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
def test_200_stopped_guests_leave_memory_flat(bench: Any, host: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat", host)

    def cycle(number: int) -> None:
        if number % 8:
            with pytest.raises(GuestTrapError):
                capsule.invoke("trap", b"x" * 1000, make_call())
        else:
            with pytest.raises(GuestTimeoutError):
                capsule.invoke("loop", b"x" * 1000, make_call(timeout_s=0.01))
        assert capsule.invoke("echo", b"x", make_call()).data == "x"
        host.instances.clear()

    for number in range(40):
        cycle(number)
    before = resident_bytes()
    for number in range(200):
        cycle(number)
    assert resident_bytes() - before < 5 * 1024 * 1024
    assert capsule.stats()["instances"] == 1


def in_parallel(action: Callable[[int], None], count: int) -> float:
    """How long `count` threads take that each do the same."""
    threads = [threading.Thread(target=action, args=(number,)) for number in range(count)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_busy_guests_compute_in_parallel(bench: Any, make_call: MakeCall) -> None:
    capsules = [bench.load("count.wat", id=name) for name in ("one", "two")]

    def compute(number: int) -> None:
        assert capsules[number].lifecycle("astrid-install", make_call())

    def control(_number: int) -> None:
        """Computes in C without the interpreter: what two threads get on this machine now."""
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 300_000)

    ratios = []
    for _ in range(12):  # other work on the machine may take a core away for a while
        guests = in_parallel(compute, 2) / in_parallel(compute, 1)
        available = in_parallel(control, 2) / in_parallel(control, 1)
        ratios.append((guests, available))
        if guests < 1.3 * max(1.0, available):
            return
    pytest.fail(f"(two guests : one, two threads : one) = {ratios}")


@pytest.mark.slow
def test_runaways_do_not_stop_each_others_clock(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat")
    overruns: list[float] = []

    def run(principal: str) -> None:
        began = time.monotonic()
        with pytest.raises(GuestTimeoutError):
            capsule.invoke("loop", b"", make_call(principal, timeout_s=0.5))
        overruns.append(time.monotonic() - began - 0.5)

    threads = [threading.Thread(target=run, args=(f"p{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(overruns) == 4
    assert max(overruns) < 0.3
    assert bench.engine._ticker.running == 0


def test_failed_loads_leave_no_files_and_no_children(
    bench: Any, tmp_path: Path, abi: Mapping[str, tuple[str, ...]]
) -> None:
    folder = tmp_path / "own-cache"
    engine = WasmEngine(EngineEnvironment(cache_dir=folder, seal_key=b"k" * 32, abi=abi))
    try:
        for name in ("wasi.wat", "wrong_shape.wat"):
            with pytest.raises(ComponentError):
                engine.prepare(bench.component(name))
        assert list(folder.iterdir()) == []
    finally:
        engine.close()
