"""Servers and guests that want the kernel's threads, time and memory instead of an answer."""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import brotli
import pytest
import trustme
import zstandard

from astrid_core.domain.egress import parse_egress
from astrid_core.domain.ip_ranges import IpAddress
from astrid_core.host import http_decode, http_records
from astrid_core.host.http_authorize import MAX_ADDRESSES
from astrid_core.host.http_network import MAX_RUNNING, Network
from astrid_hookspecs.cancel import CancelToken
from tests.support.web_server import Answer, Exchange, WebServer, serving, zipped

MIB = 1024 * 1024
NEW = "astrid:http/host@1.1.0"


def resolve(_host: str, _port: int) -> list[IpAddress]:
    return [ip_address("127.0.0.1")]


def lasting(head: bytes, piece: bytes, *, pause_s: float = 0.0) -> Answer:
    """Says one thing, and then another again and again until the client has gone."""

    def answer(exchange: Exchange) -> None:
        end = time.monotonic() + 15
        exchange.send(head)
        with contextlib.suppress(OSError):
            while not exchange.server.is_over and time.monotonic() < end:
                exchange.send(piece)
                time.sleep(pause_s)

    return answer


def silent(head: bytes) -> Answer:
    """Says one thing and no more."""

    def answer(exchange: Exchange) -> None:
        exchange.send(head)
        exchange.wait_for_the_end()

    return answer


def options(**given: object) -> tuple[object, ...]:
    return tuple(given.get(name) for name in http_records.OptionsRecord._fields)


def total(milliseconds: int) -> tuple[object, ...]:
    return options(timeouts=(None, None, None, milliseconds))


def exchanges() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("astrid-http-")]


def peak_bytes() -> int:
    """The most memory that the process had since it was asked the last time."""
    found = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    Path("/proc/self/clear_refs").write_text("5")
    return int(found) * 1024


def gone(bound_s: float = 3.0) -> bool:
    """Whether every thread of a request has ended within the time."""
    end = time.monotonic() + bound_s
    while exchanges() and time.monotonic() < end:
        time.sleep(0.01)
    return not exchanges()


@pytest.fixture
def web(world: Any) -> Callable[..., Any]:
    """An instance that may reach one server, by whatever name."""

    def opened(server: WebServer, *, cancel: CancelToken | None = None, **more: Any) -> Any:
        consent = (parse_egress(f"127.0.0.1:{server.port}"),)
        network = Network(**{"resolve": resolve, "consent": consent, **more})
        return world.open(net=("*",), services={"network": network}, cancel=cancel)

    return opened


def get(url: str) -> tuple[object, ...]:
    return (url, ("get", None), [], None)


HEAD = b"HTTP/1.1 200 X\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS: dict[str, Answer] = {
    "informational": lasting(b"", b"HTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n"),
    "continue": lasting(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause_s=0.01),
    "dripping-head": lasting(HEAD + b"A: ", b"b", pause_s=0.02),
    "status-line": lasting(b"HTTP/1.1 200 ", b"x" * 4096),
    "one-header": lasting(HEAD + b"A: ", b"b" * 4096),
    "many-headers": lasting(HEAD, b"A: b\r\n" * 500),
    "folded-header": lasting(HEAD + b"A: b\r\n", b" c\r\n" * 500),
    "chunk-extension": lasting(CHUNKED + b"1;", b"x" * 4096),
    "trailers": lasting(CHUNKED + b"0\r\n", b"A: b\r\n" * 500),
    "tiny-chunks": lasting(CHUNKED, b"1\r\nx\r\n" * 500),
    "empty-members": lasting(HEAD + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"") * 500),
}
EMPTY = gzip.compress(b"", mtime=0)
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", lambda: zipped(bytes(64 * MIB))),
    "brotli": ("br", lambda: brotli.compress(bytes(64 * MIB), quality=1)),
    "zstd": ("zstd", lambda: zstandard.compress(bytes(64 * MIB))),
    "twice": ("gzip, gzip", lambda: zipped(zipped(bytes(64 * MIB)))),
    # Nothing comes out at the end, and what is between the layers grows and grows.
    "hollow": ("gzip, gzip", lambda: zipped(EMPTY * (40 * MIB // len(EMPTY)))),
    "hollow-zstd": ("gzip, zstd", lambda: zstandard.compress(EMPTY * (40 * MIB // len(EMPTY)))),
}
SILENT: dict[str, Answer] = {
    "no-head": silent(b""),
    "no-body": silent(HEAD + b"Content-Length: 9\r\n\r\nx"),
    "informational": ENDLESS["informational"],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_end_is_given_up_in_time(web: Any, call: Any, kind: str) -> None:
    with serving({"/": ENDLESS[kind]}) as server:
        instance = web(server)
        began = time.monotonic()
        request = get(f"http://a.test:{server.port}/")
        case, _ = call(instance, "http-request-opts", request, total(700), interface=NEW)
        assert case in {"timeout", "protocol", "body-too-large"}
        assert time.monotonic() - began < 3
        assert gone()


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.slow
def test_a_bomb_takes_little_time_and_memory(web: Any, call: Any, kind: str) -> None:
    coding, make = BOMBS[kind]
    body = make()
    answer: Answer = lambda e: e.answer(body, headers=(f"Content-Encoding: {coding}",))  # noqa: E731
    with serving({"/": answer}) as server:
        instance = web(server)
        request = get(f"http://a.test:{server.port}/")
        peak_bytes()
        before = peak_bytes()  # what there is now, the bomb itself included
        assert call(instance, "http-request", request, interface=NEW)[0] == "decompression-bomb"
        assert gone()
        assert peak_bytes() - before < 40 * MIB


@pytest.mark.slow
def test_decoding_stops_when_nobody_waits(
    web: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_decode, "MAX_BETWEEN", 1 << 40)
    body = zipped(zipped(EMPTY * (60 * MIB // len(EMPTY))))
    answer: Answer = lambda e: e.answer(body, headers=("Content-Encoding: gzip, gzip, gzip",))  # noqa: E731
    with serving({"/": answer}) as server:
        request = get(f"http://a.test:{server.port}/")
        case, _ = call(web(server), "http-request-opts", request, total(300), interface=NEW)
        assert case == "timeout"
        assert gone(1.0)


@pytest.mark.parametrize("kind", SILENT)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_stopped_call_cuts_its_connection(
    web: Any, call: Any, tls: ssl.SSLContext, trusting: ssl.SSLContext, scheme: str, kind: str
) -> None:
    with serving({"/": SILENT[kind]}, tls=tls if scheme == "https" else None) as server:
        cancel = CancelToken()
        instance = web(server, cancel=cancel, tls=lambda: trusting)
        threading.Timer(0.2, cancel.fire).start()
        request = get(f"{scheme}://a.test:{server.port}/")
        assert call(instance, "http-request-opts", request, None, interface=NEW)[0] == "closed"
        assert gone()


@pytest.mark.slow
@pytest.mark.parametrize("which", range(3), ids=["connect", "first-byte", "between-bytes"])
@pytest.mark.parametrize("function", ["http-request-opts", "http-stream-start-opts"])
def test_no_time_and_all_time_are_times(web: Any, call: Any, function: str, which: int) -> None:
    def answer(exchange: Exchange) -> None:
        time.sleep(0.2)
        exchange.send(HEAD + b"Content-Length: 2\r\n\r\nx")
        time.sleep(0.2)
        exchange.send(b"x")

    with serving({"/": answer}) as server:
        request = get(f"http://a.test:{server.port}/")
        for value, cases in ((0, {"ok", "timeout"}), (2**64 - 1, {"ok"})):
            chosen = tuple(value if index == which else None for index in range(4))
            instance = web(server)
            case, made = call(instance, function, request, options(timeouts=chosen), interface=NEW)
            assert case in cases
            if case == "ok" and function == "http-stream-start-opts":
                read = "[method]http-stream.read-chunk"
                assert call(instance, read, made, interface=NEW)[0] in cases
                assert call(instance, read, made, interface=NEW)[0] in {*cases, "closed"}


def test_a_server_that_never_shakes_hands_is_cut(
    web: Any, call: Any, trusting: ssl.SSLContext
) -> None:
    with serving({"/": silent(b"")}) as server:  # takes the hello for a request
        instance = web(server, tls=lambda: trusting)
        request = get(f"https://a.test:{server.port}/")
        answer = call(instance, "http-request-opts", request, total(300), interface=NEW)
        assert answer[0] == "timeout"
        assert gone()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.test").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def stuck() -> Iterator[Callable[[str, int], list[IpAddress]]]:
    """A resolver that answers when the test is over, as one does whose server is far away."""
    over = threading.Event()

    def wait(_host: str, _port: int) -> list[IpAddress]:
        over.wait(20)
        raise OSError("nobody answered")

    yield wait
    over.set()
    assert gone()


@pytest.mark.parametrize("function", ["http-upload-start", "http-request-opts"])
def test_requests_that_are_given_up_do_not_pile_up(
    web: Any, call: Any, stuck: Any, function: str
) -> None:
    with serving({}) as server:
        instance = web(server, resolve=stuck)
        cases = set()
        for number in range(60):
            request = get(f"http://a{number}.test:{server.port}/")
            case, made = call(instance, function, request, total(1), interface=NEW)
            cases.add(case)
            if case == "ok":
                made.drop()
        assert len(exchanges()) == MAX_RUNNING
        assert "quota" in cases


def test_a_name_with_thousands_of_addresses_is_not_thousands_of_records(
    world: Any, web: Any, call: Any
) -> None:
    def many(_host: str, _port: int) -> list[IpAddress]:
        return [ip_address(0x0A000000 + number) for number in range(5000)]

    with serving({}) as server:
        instance = web(server, resolve=many)
        request = get(f"http://a.test:{server.port}/")
        case, _ = call(instance, "http-request-opts", request, None, interface=NEW)
    assert case == "airlock-rejected"
    assert len(world.decisions) == MAX_ADDRESSES


def test_places_of_ended_requests_are_free_again(web: Any, call: Any) -> None:
    with serving({"/": lambda exchange: exchange.answer(b"ok")}) as server:
        instance = web(server)
        request = get(f"http://a.test:{server.port}/")
        for _ in range(3 * MAX_RUNNING):
            assert call(instance, "http-request-opts", request, None, interface=NEW)[0] == "ok"


@pytest.mark.parametrize(
    ("status", "case"), [(307, "protocol"), (308, "protocol"), (302, "ok"), (303, "ok")]
)
def test_a_body_that_was_streamed_is_not_replaced_by_none(
    web: Any, call: Any, status: int, case: str
) -> None:
    routes: dict[str, Answer] = {
        "/": lambda exchange: exchange.redirect("/there", status),
        "/there": lambda exchange: exchange.answer(exchange.seen.method.encode()),
    }
    with serving(routes) as server:
        instance = web(server)
        record: tuple[object, ...] = (
            f"http://a.test:{server.port}/",
            ("post", None),
            [],
            None,
        )
        _, upload = call(instance, "http-upload-start", record, options(), interface=NEW)
        ended, _ = call(instance, "[method]http-upload.finish", upload, interface=NEW)
        assert ended == case
        assert [seen.method for seen in server.seen[1:]] == (["GET"] if case == "ok" else [])
