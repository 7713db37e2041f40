"""Every function of the ABI has an answer, and no exception of the kernel crosses the boundary."""

from __future__ import annotations

from typing import Any

from astrid_core.host.abi import load_abi
from astrid_core.host.registry import all_handlers
from astrid_hookspecs.errors import ConfigError, PolicyDeniedError

FUNCTIONS = [tuple(name.split("#")) for name, texts in load_abi().items() if texts]


def test_every_function_of_the_lock_has_a_handler(world: Any) -> None:
    alice = world.open()
    assert set(all_handlers()) == set(FUNCTIONS)
    for interface, function in FUNCTIONS:
        assert callable(alice.handler(interface, function))
    assert alice.handler("astrid:kv/host@1.0.0", "kv-nope") is None
    assert alice.handler("wasi:io/poll@0.2.0", "poll") is None


def test_an_unforeseen_exception_becomes_unknown_and_is_logged(world: Any, call: Any) -> None:
    class BrokenProfiles:
        def profile(self, principal: str) -> Any:
            raise ConfigError(f"/etc/profiles/{principal}.toml is damaged")

    alice = world.open(publish=("x",), services={"profiles": BrokenProfiles()})
    assert call(alice, "publish", "x", "1") == ("unknown", "internal error")


def test_an_unforeseen_exception_without_a_result_type_is_a_value(world: Any, call: Any) -> None:
    class BrokenClock:
        def now(self) -> float:
            raise OSError("no clock")

        monotonic = monotonic_ns = now

    alice = world.open(services={"clock": BrokenClock()})
    for function, value in (("clock-ms", 0), ("clock-monotonic-ns", 0), ("log", None)):
        arguments = ("info", "x") if function == "log" else ()
        result = call(alice, function, *arguments, interface="astrid:sys/host@1.0.0")
        assert result == ("ok", value)


def test_a_denial_where_the_interface_has_no_case_for_it_is_unknown(world: Any, call: Any) -> None:
    class DenyingStore:
        def get(self, *_: object) -> bytes:
            raise PolicyDeniedError("no", rule="test")

    alice = world.open(services={"kv": DenyingStore()})
    answer = call(alice, "kv-get", "k", interface="astrid:kv/host@1.0.0")
    assert answer == ("unknown", "refused")
