"""Every function of the ABI has an answer, and no exception of the kernel crosses the boundary."""

from __future__ import annotations

from typing import Any

import pytest

from astrid_core.domain.abi import parse_signature
from astrid_core.domain.wit_types import ResultOf
from astrid_core.host.abi import load_abi
from astrid_core.host.handlers import handler_table
from astrid_core.host.pollable import Pollable
from astrid_core.host.registry import PACKAGES, all_handlers
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import ConfigError, PolicyDeniedError

FUNCTIONS = [tuple(name.split("#")) for name, texts in load_abi().items() if texts]
HERE = handler_table(PACKAGES)
MISSING = [
    (interface, function) for interface, function in FUNCTIONS if (interface, function) not in HERE
]
"""The local socket is handed to no capsule, so that nobody can have a listener of it."""


def test_every_function_of_the_lock_has_a_handler(world: Any) -> None:
    alice = world.open()
    assert set(all_handlers()) == set(FUNCTIONS)
    for interface, function in FUNCTIONS:
        assert callable(alice.handler(interface, function))
    assert alice.handler("astrid:kv/host@1.0.0", "kv-nope") is None
    assert alice.handler("wasi:io/poll@0.2.0", "poll") is None


@pytest.mark.parametrize(("interface", "function"), MISSING)
def test_functions_that_nobody_can_reach_refuse_or_answer_harmlessly(
    world: Any, interface: str, function: str
) -> None:
    handler = world.open().handler(interface, function)
    texts = load_abi()[f"{interface}#{function}"]
    if isinstance(parse_signature(texts[0]).result, ResultOf):
        with pytest.raises(WitError) as caught:
            handler()
        assert caught.value.case == "unknown"
        package = interface.partition("/")[0]
        assert caught.value.payload == f"{package} is not available in this build of the kernel"
        assert all("unknown(string)" in text for text in texts)
    else:
        assert isinstance(handler(), Pollable)


def test_all_other_functions_do_their_work() -> None:
    assert {function for _, function in MISSING} == {
        f"[method]unix-listener.{name}" for name in ("accept", "poll-accept", "subscribe-readiness")
    }


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
