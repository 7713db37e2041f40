"""Inside a component: the generated modules, and a standard library without a system."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

from astrid_sdk import bindings, kv
from astrid_sdk.errors import CasMismatchError, HostError, InvalidKeyError, NotInCapsuleError


@dataclass(frozen=True)
class Err(Exception):  # noqa: N818 - as generated
    value: Any


@dataclass
class ErrorCode_CasMismatch:  # noqa: N801 - as generated
    pass


@dataclass
class ErrorCode_Unknown:  # noqa: N801 - as generated
    value: str


class ErrorCode(Enum):
    INVALID_KEY = 0


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The modules that the tool generates for a world with the store only."""
    types: Any = ModuleType("componentize_py_types")
    types.Err = Err
    store: Any = ModuleType("wit_world.imports.astrid_kv_host_1_0_0")
    for name, module in (
        ("componentize_py_types", types),
        ("wit_world", ModuleType("wit_world")),
        ("wit_world.imports", ModuleType("wit_world.imports")),
        ("wit_world.imports.astrid_kv_host_1_0_0", store),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules["wit_world"], "__path__", [], raising=False)
    monkeypatch.setattr(sys.modules["wit_world.imports"], "__path__", [], raising=False)
    before, live = bindings.bind(bindings.ComponentBindings()), bindings.set_live(True)
    yield store
    bindings.set_live(live)
    bindings.bind(before)


@pytest.mark.parametrize(
    ("value", "kind", "detail"),
    [
        (ErrorCode_CasMismatch(), CasMismatchError, None),
        (ErrorCode_Unknown("disk"), HostError, "disk"),
        (ErrorCode.INVALID_KEY, InvalidKeyError, None),
    ],
    ids=["variant", "variant-with-payload", "enum"],
)
def test_generated_error_becomes_a_typed_exception(
    generated: Any, value: object, kind: type[HostError], detail: str | None
) -> None:
    def refuse(_key: str) -> bytes:
        raise Err(value)

    generated.kv_get = refuse
    with pytest.raises(kind) as caught:
        kv.get("k")

    assert caught.value.detail == detail
    assert caught.value.function == "kv-get"


def test_other_exceptions_pass(generated: Any) -> None:
    def broken(_key: str) -> bytes:
        raise ZeroDivisionError

    generated.kv_get = broken
    with pytest.raises(ZeroDivisionError):
        kv.get("k")


@pytest.mark.usefixtures("generated")
def test_interface_that_is_not_in_the_world_is_named() -> None:
    with pytest.raises(NotInCapsuleError, match=r"built without astrid:sys/host@1\.0\.0"):
        bindings.host_call("sys", "clock_ms")


@pytest.mark.usefixtures("generated")
def test_host_calls_are_refused_while_the_component_is_built() -> None:
    bindings.set_live(False)
    with pytest.raises(NotInCapsuleError, match="not while the module is imported"):
        kv.get("k")


CONFINED = """
    import os, random, sys, traceback
    write = os.write
    from astrid_sdk import bindings, confine
    from astrid_sdk.testing import FakeHost
    confine.confine()
    import _strptime, builtins, datetime, os, secrets, sys, time, uuid
    from datetime import datetime as dt
    from time import time as now
    built = time.time()
    assert built > 1_750_000_000, "while it is built, the real clock runs"
    first = random.random()
    host = FakeHost()
    bindings.bind(host)
    random.seed(0)
    confine.go_live()
    START = 1_700_000_000
    def refused(kind, call, *arguments):
        try:
            call(*arguments)
        except kind as error:
            return str(error)
        raise AssertionError(f"{call} was not refused")
"""

CHECKS = {
    "wall clock": "assert now() == time.time() == START and time.time_ns() == START * 10**9",
    "waiting moves every clock": """
        time.sleep(2.5)
        assert time.time() == START + 2.5 and time.monotonic() == time.perf_counter() == 2.5
        assert time.clock_gettime(time.CLOCK_REALTIME) == START + 2.5
        assert time.clock_gettime_ns(time.CLOCK_MONOTONIC) == 2_500_000_000
    """,
    "calendar": """
        assert time.gmtime().tm_year == 2023 and time.gmtime(0).tm_year == 1970
        assert time.strftime("%Y") == "2023" and "2023" in time.ctime() and "2023" in time.asctime()
        assert dt.now(datetime.UTC).isoformat() == "2023-11-14T22:13:20+00:00"
        assert dt.utcnow().year == dt.today().year == datetime.date.today().year == 2023
        assert isinstance(dt.now(), datetime.datetime) and issubclass(dt, datetime.date)
        assert type(dt.now() + datetime.timedelta(1)) is dt
        assert repr(dt(2020, 1, 2)) == "datetime.datetime(2020, 1, 2, 0, 0)"
        assert dt.strptime("2020", "%Y") == dt(2020, 1, 1)
    """,
    "entropy": """
        random.seed(0); a = random.random(); random.seed(); assert random.random() != a
        assert random.Random().random() != random.Random().random()
        assert random.Random(3).random() == random.Random(3).random()
        assert random.SystemRandom().random() != random.SystemRandom().random()
        assert uuid.uuid4() != uuid.uuid4() and secrets.token_hex(4) != secrets.token_hex(4)
        assert len(os.urandom(5000)) == 5000
    """,
    "random is seeded anew when an instance starts": """
        after = random.random(); random.seed(0); assert random.random() != after
    """,
    "files": """
        assert "no file system" in refused(FileNotFoundError, open, "/x")
        assert "no file system" in refused(FileNotFoundError, os.listdir, "/")
        assert not os.path.exists("/") and not os.isatty(1)
        refused(OSError, os.write, 1, b"x")
    """,
    "imports": """
        assert "top of the capsule" in refused(ModuleNotFoundError, __import__, "wave")
        assert __import__("json") is sys.modules["json"]
    """,
    "streams": """
        print("hello"); print("oops", file=sys.stderr)
        assert host.logs == [("info", "hello"), ("error", "oops")]
        refused(EOFError, input)
    """,
    "tracebacks": """
        import traceback
        try:
            1 / 0
        except ZeroDivisionError:
            assert "ZeroDivisionError" in traceback.format_exc()
    """,
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_standard_library_inside_a_component(check: str) -> None:
    inner = textwrap.indent(textwrap.dedent(check), "    ")
    report = "write(2, traceback.format_exc().encode()); os._exit(1)"
    source = (
        f"{textwrap.dedent(CONFINED)}\ntry:\n{inner}\nexcept BaseException: {report}\nos._exit(0)"
    )
    command = [sys.executable, "-B", "-c", source]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
