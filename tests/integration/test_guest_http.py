"""Components that call every function of `astrid:http`, allowed and denied; one for each version.

Real engine, gate, look-up and sockets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from astrid_core.domain.egress import parse_egress
from astrid_core.host.abi import load_abi
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.context import CapsuleContext
from astrid_core.host.http_network import Network
from astrid_core.security.grants import CapsuleGrants
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.engines import Call, CapsuleSpec, EngineEnvironment, Limits
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.guest_services import guest_services
from tests.support.http_guest import http_guest
from tests.support.web_server import Answer, WebServer, serving, zipped

pytestmark = pytest.mark.slow
FUNCTIONS = [
    ("1.0", "http_request"),
    ("1.0", "http_stream_start"),
    ("1.1", "http_request"),
    ("1.1", "http_request_opts"),
    ("1.1", "http_stream_start"),
    ("1.1", "http_stream_start_opts"),
    ("1.1", "http_upload_start"),
]
Guest = Callable[..., dict[str, Any]]
ROUTES: dict[str, Answer] = {
    "/": lambda e: e.answer(f"{e.seen.method} {e.seen.body.decode()}".strip().encode()),
    "/away": lambda e: e.redirect("http://169.254.169.254/latest"),
    "/bomb": lambda e: e.answer(zipped(bytes(11 << 20)), headers=("Content-Encoding: gzip",)),
}


class Records:
    """An audit log that takes everything."""

    def append(self, _entry: AuditEntry, *, durable: bool = False) -> None:
        """Taken."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WasmEngine]:
    cache = tmp_path_factory.mktemp("http-cache")
    cache.chmod(0o700)
    made = WasmEngine(EngineEnvironment(cache, b"s" * 32, load_abi()))
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving(ROUTES) as made:
        yield made


@pytest.fixture
def decisions() -> list[DecisionEvent]:
    return []


@pytest.fixture
def load(
    engine: WasmEngine,
    server: WebServer,
    decisions: list[DecisionEvent],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Guest]]:
    """Loads the guest with hosts that it may talk to; the operator opened the server or not."""
    with ExitStack() as release:

        def loaded(*net: str, version: str = "1.1", is_opened: bool = True) -> Guest:
            component = http_guest(tmp_path_factory, version)
            rules = (parse_egress(f"127.0.0.1:{server.port}"),) if is_opened else ()
            services = guest_services(
                tmp_path,
                release,
                decisions=decisions,
                audit=Records(),
                network=Network(consent=rules),
            )
            spec = CapsuleSpec(
                id=CapsuleId("probe"),
                version="1.0.0",
                source_id="11111111-2222-4333-8444-555555555555",
                directory=component.parent,
                component=component,
                component_hash=engine.inspect(component).digest,
            )
            grants = CapsuleGrants(spec.id, net=net)
            context = CapsuleContext(spec=spec, grants=grants, owner=Principal("default"))
            capsule = engine.load(spec, CapsuleHost(context, services=services))
            release.callback(capsule.unload, grace_s=1.0)

            def call(action: str, path: str = "/", **given: Any) -> dict[str, Any]:
                payload = {"url": f"http://127.0.0.1:{server.port}{path}", "text": "up", **given}
                made = Call(Principal("alice"), Limits())
                answer = capsule.invoke(action, json.dumps(payload).encode(), made).data
                found: dict[str, Any] = json.loads(answer or "")
                return found

            return call

        yield loaded


@pytest.mark.parametrize(("version", "function"), FUNCTIONS)
def test_a_guest_sends_requests(
    load: Callable[..., Guest], server: WebServer, version: str, function: str
) -> None:
    found = load("127.0.0.1", version=version)(function)["ok"]
    wanted = "PUT up" if "upload" in function else "GET"
    assert (found["status"], found["body"]) == (200, wanted)
    assert server.seen[0].values("x-from") == ["guest"]


@pytest.mark.parametrize(("version", "function"), FUNCTIONS)
def test_a_guest_denied_when_no_entry_covers_the_host(
    load: Callable[..., Guest],
    server: WebServer,
    decisions: list[DecisionEvent],
    version: str,
    function: str,
) -> None:
    assert load("example.org", version=version)(function) == {"err": "CapabilityDenied"}
    assert [one.rule for one in decisions if not one.allowed] == ["net"]
    assert server.connections == 0


@pytest.mark.parametrize(("version", "function"), FUNCTIONS)
def test_a_guest_denied_when_nobody_consented(
    load: Callable[..., Guest],
    server: WebServer,
    decisions: list[DecisionEvent],
    version: str,
    function: str,
) -> None:
    assert load("*", version=version, is_opened=False)(function) == {"err": "AirlockRejected"}
    assert [one.rule for one in decisions if not one.allowed] == ["network.local-egress"]
    assert server.connections == 0


def test_a_guest_is_not_led_away(load: Callable[..., Guest]) -> None:
    guest = load("*")
    assert guest("http_request", "/away") == {"err": "RedirectBlocked"}
    assert guest("http_request_opts", "/away", redirect="MANUAL")["ok"]["status"] == 302
    assert guest("http_request", "/bomb") == {"err": "DecompressionBomb"}
    assert guest("http_request_opts", https_only=True) == {"err": "SchemeDenied"}


def test_55_a_guest_of_1_0_has_its_own_rules(load: Callable[..., Guest]) -> None:
    guest = load("*", version="1.0")
    assert guest("http_request", "/away") == {"err": "AirlockRejected"}
    compressed = guest("http_request", "/bomb")["ok"]  # it gets the bytes as they came
    assert compressed["status"] == 200
    assert len(compressed["body"]) < 1 << 20


def test_each_component_imports_its_version_alone(
    engine: WasmEngine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for version in ("1.0", "1.1"):
        imports = engine.inspect(http_guest(tmp_path_factory, version)).imports
        found = [name for name in imports if name.startswith("astrid:http/")]
        assert found == [f"astrid:http/host@{version}.0"]
