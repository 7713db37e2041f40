"""Requests of guests against a real server. Numbers are those of the reference's vectors."""

from __future__ import annotations

import base64
import gzip
import hashlib
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from typing import Any

import brotli
import pytest
import zstandard

from astrid_core.domain.egress import parse_egress
from astrid_core.domain.ip_ranges import IpAddress
from astrid_core.host import http_records
from astrid_core.host.http_network import Network
from astrid_hookspecs.cancel import CancelToken
from tests.support.web_server import Answer, Exchange, WebServer, drip, endless, serving, zipped

MIB = 1024 * 1024
OLD, NEW = "astrid:http/host@1.0.0", "astrid:http/host@1.1.0"
HELLO = base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
NAMES = {"good.test": ["127.0.0.1"], "other.test": ["127.0.0.1"], "inside.test": ["10.0.0.1"]}


def resolve(host: str, port: int) -> list[IpAddress]:
    del port
    if host not in NAMES:
        raise OSError("no such name")
    return [ip_address(text) for text in NAMES[host]]


def hops(exchange: Exchange) -> None:
    left = int(exchange.seen.path.partition("?")[2])
    if left:
        exchange.redirect(f"/hops?{left - 1}")
    else:
        exchange.answer(b"arrived")


ROUTES: dict[str, Answer] = {
    "/hello": lambda exchange: exchange.answer(b"hello", headers=("X-One: 1", "X-One: 2")),
    "/latin": lambda exchange: exchange.answer(headers=("X-Name: caf\xe9",)),
    "/500": lambda exchange: exchange.answer(b"broken", status=500),
    "/hops": hops,
    "/303": lambda exchange: exchange.redirect("/seen", 303),
    "/307": lambda exchange: exchange.redirect("/seen", 307),
    "/seen": lambda exchange: exchange.answer(exchange.seen.method.encode()),
    "/metadata": lambda exchange: exchange.redirect("http://169.254.169.254/latest"),
    "/foreign": lambda exchange: exchange.redirect("http://secret.test/"),
    "/file": lambda exchange: exchange.redirect("file:///etc/passwd"),
    "/nowhere": lambda exchange: exchange.redirect("http://["),
    "/full": lambda exchange: exchange.answer(b"x" * 10 * MIB),
    "/over": lambda exchange: exchange.answer(b"x" * (10 * MIB + 1)),
    "/endless": endless,
    "/drip": drip,
    "/silent": Exchange.wait_for_the_end,
    "/garbage": lambda exchange: exchange.send(b"not http at all\r\n\r\n"),
    "/headers": lambda exchange: exchange.send(b"HTTP/1.1 200 X\r\n" + b"A: b\r\n" * 200_000),
    "/cut": lambda exchange: exchange.send(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nabc"),
    "/gzip": lambda exchange: exchange.answer(
        zipped(b"squeezed"), headers=("Content-Encoding: gzip",)
    ),
    "/bomb": lambda exchange: exchange.answer(
        zipped(bytes(11 * MIB)), headers=("Content-Encoding: gzip",)
    ),
}


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving(ROUTES) as made:
        yield made


@pytest.fixture
def web(world: Any, server: WebServer) -> Callable[..., Any]:
    """An instance that may reach the server under two names."""

    def opened(*net: str, **more: Any) -> Any:
        consent = (parse_egress(f"127.0.0.1:{server.port}"),)
        network = Network(resolve=resolve, consent=consent)
        names = net or ("good.test", "other.test", "169.254.169.254")
        return world.open(net=names, services={"network": network}, **more)

    return opened


@pytest.fixture(params=[OLD, NEW], ids=["1.0", "1.1"])
def fetch(request: pytest.FixtureRequest, call: Any, server: WebServer) -> Callable[..., Any]:
    return partial(_fetch, call, server, request.param)


@pytest.fixture
def old(call: Any, server: WebServer) -> Callable[..., Any]:
    return partial(_fetch, call, server, OLD)


@pytest.fixture
def new(call: Any, server: WebServer) -> Callable[..., Any]:
    return partial(_fetch, call, server, NEW)


def _fetch(
    call: Any,
    server: WebServer,
    interface: str,
    instance: Any,
    path: str,
    *,
    method: tuple[str, str | None] = ("get", None),
    headers: list[tuple[str, str]] | None = None,
    body: bytes | None = None,
    host: str = "good.test",
    function: str = "http-request",
    options: tuple[object, ...] | None = None,
) -> Any:
    url = path if "://" in path else f"http://{host}:{server.port}{path}"
    record = (url, method, headers or [], body)
    if options is None:
        return call(instance, function, record, interface=interface)
    return call(instance, f"{function}-opts", record, options, interface=interface)


def options(**given: object) -> tuple[object, ...]:
    names = http_records.OptionsRecord._fields
    assert set(given) <= set(names)
    return tuple(given.get(name) for name in names)


def times(**given: int) -> tuple[object, ...]:
    return options(timeouts=tuple(given.get(n) for n in http_records.TimeoutRecord._fields))


def test_54_an_answer_is_an_answer_whatever_its_status(web: Any, fetch: Any) -> None:
    case, answer = fetch(web(), "/hello")
    assert (case, answer.status, answer.body) == ("ok", 200, b"hello")
    assert [value for name, value in answer.headers if name == "x-one"] == ["1", "2"]
    for path, status in (("/missing", 404), ("/500", 500)):
        case, answer = fetch(web(), path)
        assert (case, answer.status) == ("ok", status)
    _, answer = fetch(web(), "/latin")
    assert ("x-name", "caf\xe9") in answer.headers


def test_44_a_request_denied_when_the_manifest_does_not_name_the_host(
    world: Any, web: Any, fetch: Any, server: WebServer
) -> None:
    assert fetch(web("elsewhere.test"), "/hello")[0] == "capability-denied"
    assert fetch(web("*"), "/hello")[0] == "ok"
    assert len(server.seen) == 1
    assert [d.rule for d in world.decisions] == ["net"]


@pytest.mark.parametrize(
    ("url", "new_case"),
    [("not a url", "invalid-request"), ("file:///etc/passwd", "scheme-denied"),
     ("ftp://good.test/", "scheme-denied"), ("http://", "invalid-request"),
     ("http://a\nb/", "invalid-request"), ("http://good.test:99999/", "invalid-request")],
)  # fmt: skip
def test_45_a_url_refused_when_it_is_none(
    web: Any, old: Any, new: Any, url: str, new_case: str
) -> None:
    for fetch, case in ((old, "invalid-request"), (new, new_case)):
        url = url if "://" in url else f"://{url}"
        assert fetch(web("*"), url)[0] == ("invalid-request" if url.startswith(":") else case)


def test_46_methods_are_tokens(web: Any, fetch: Any, server: WebServer) -> None:
    assert fetch(web(), "/seen", method=("other", "PROPFIND"))[1].body == b"PROPFIND"
    for method in (("other", "BAD METHOD"), ("other", ""), ("connect", None), ("other", "CONNECT")):
        assert fetch(web(), "/seen", method=method)[0] == "invalid-request"
    assert len(server.seen) == 1


def test_47_headers_go_as_they_are_or_not_at_all(web: Any, fetch: Any, server: WebServer) -> None:
    for bad in (("a b", "x"), ("x", "a\r\nHost: evil"), ("", "x"), ("x", "a\0")):
        assert fetch(web(), "/hello", headers=[bad])[0] == "invalid-request"
    cookies = [("Cookie", "a=1"), ("Cookie", "b=2")]
    smuggled = [("Host", "evil.test"), ("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
    assert fetch(web(), "/hello", headers=[*cookies, *smuggled])[0] == "ok"
    (seen,) = server.seen
    assert seen.values("cookie") == ["a=1", "b=2"]
    assert seen.values("host") == [f"good.test:{server.port}"]
    assert seen.values("content-length") == seen.values("transfer-encoding") == []


def test_user_info_becomes_basic_authorization(web: Any, fetch: Any, server: WebServer) -> None:
    url = f"http://al:s%20x@good.test:{server.port}/hello"
    assert fetch(web(), url)[0] == "ok"
    assert fetch(web(), url, headers=[("Authorization", "Own")])[0] == "ok"
    first, second = (seen.values("authorization") for seen in server.seen)
    assert (first, second) == (["Basic " + base64.b64encode(b"al:s x").decode()], ["Own"])


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://2130706433/",
     "http://0x7f.1/"],
)  # fmt: skip
def test_48_an_address_inside_refused(world: Any, web: Any, fetch: Any, url: str) -> None:
    assert fetch(web("*"), url)[0] == "airlock-rejected"
    assert [d.rule for d in world.decisions] == ["network.local-egress"]


def test_40_41_names_that_lead_inside(
    world: Any, web: Any, fetch: Any, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(web("*"), "/hello", host="inside.test")[0] == "airlock-rejected"
    monkeypatch.setitem(NAMES, "both.test", ["10.0.0.1", "127.0.0.1"])
    assert fetch(web("*"), "/hello", host="both.test")[0] == "ok"
    assert fetch(web("*"), "/hello", host="unknown.test")[0] == "dns-error"  # 42
    assert len(server.seen) == 1
    assert {d.resource for d in world.decisions} == {f"10.0.0.1:{server.port}"}


def test_49_50_a_redirect_is_judged_like_a_request(web: Any, old: Any, new: Any) -> None:
    assert old(web(), "/metadata")[0] == "airlock-rejected"
    assert old(web(), "/foreign")[0] == "capability-denied"
    assert old(web(), "/file")[0] == "invalid-request"
    assert new(web(), "/metadata")[0] == new(web(), "/foreign")[0] == "redirect-blocked"
    assert new(web(), "/file")[0] == "scheme-denied"
    assert new(web(), "/nowhere")[0] == old(web(), "/nowhere")[0] == "protocol"


def test_51_ten_redirects_are_followed(web: Any, old: Any, new: Any) -> None:
    assert old(web(), "/hops?10")[1].body == b"arrived"
    assert old(web(), "/hops?11")[0] == "unknown"
    assert new(web(), "/hops?11")[0] == "too-many-redirects"


def test_52_what_a_redirect_keeps(web: Any, fetch: Any, server: WebServer) -> None:
    post = {"method": ("post", None), "body": b"data", "headers": [("Content-Type", "text/x")]}
    assert fetch(web(), "/303", **post)[1].body == b"GET"
    assert fetch(web(), "/307", **post)[1].body == b"POST"
    third, fourth = server.seen[1], server.seen[3]
    assert (third.body, third.values("content-type")) == (b"", [])
    assert (fourth.body, fourth.values("content-type")) == (b"data", ["text/x"])


def test_52_what_is_private_stays_with_its_origin(web: Any, fetch: Any, server: WebServer) -> None:
    server.routes["/away"] = lambda e: e.redirect(f"http://other.test:{server.port}/seen")
    private = [("Authorization", "t"), ("Cookie", "c"), ("Proxy-Authorization", "p"), ("X", "x")]
    assert fetch(web(), "/away", headers=private)[0] == "ok"
    last = server.seen[-1]
    assert [last.values(name) for name, _ in private] == [[], [], [], ["x"]]
    server.routes["/near"] = lambda e: e.redirect("/seen")
    assert fetch(web(), f"http://me:pw@good.test:{server.port}/near")[0] == "ok"
    assert server.seen[-1].values("authorization") != []


def test_53_a_body_that_is_too_large_is_given_up(web: Any, fetch: Any) -> None:
    case, answer = fetch(web(), "/full")
    assert (case, len(answer.body)) == ("ok", 10 * MIB)
    assert fetch(web(), "/over")[0] == "body-too-large"
    assert fetch(web(), "/endless")[0] == "body-too-large"


def test_55_only_1_1_decompresses(web: Any, old: Any, new: Any, server: WebServer) -> None:
    assert gzip.decompress(old(web(), "/gzip")[1].body) == b"squeezed"
    answer = new(web(), "/gzip")[1]
    assert answer.body == b"squeezed"
    assert {"content-encoding", "content-length"}.isdisjoint(name for name, _ in answer.headers)
    raw = new(web(), "/gzip", options=options(auto_decompress=False))[1].body
    assert gzip.decompress(raw) == b"squeezed"
    asked = [seen.values("accept-encoding") for seen in server.seen]
    assert asked == [[], ["gzip, deflate, br, zstd"], []]


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("deflate", zlib.compress(b"plain" * 999)),
        ("deflate", zlib.compress(b"plain" * 999)[2:-4]),
        ("br", brotli.compress(b"plain" * 999)),
        ("zstd", zstandard.compress(b"plain" * 999)),
        ("gzip, br", brotli.compress(zipped(b"plain" * 999))),
        ("gzip", zipped(b"plain" * 500) + zipped(b"plain" * 499)),
    ],
    ids=["deflate", "raw-deflate", "br", "zstd", "gzip-br", "members"],
)
def test_every_coding_that_is_offered_is_undone(
    web: Any, new: Any, server: WebServer, coding: str, packed: bytes
) -> None:
    server.routes["/packed"] = lambda e: e.answer(packed, headers=(f"Content-Encoding: {coding}",))
    assert new(web(), "/packed")[1].body == b"plain" * 999
    server.routes["/cut-off"] = lambda e: e.answer(
        packed[:-9], headers=(f"Content-Encoding: {coding}",)
    )
    assert new(web(), "/cut-off")[0] == "protocol"


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", zipped(bytes(11 * MIB))),
        ("br", brotli.compress(bytes(64 * MIB), quality=1)),
        ("zstd", zstandard.compress(bytes(64 * MIB))),
        ("gzip, gzip", zipped(zipped(bytes(64 * MIB)))),
    ],
    ids=["gzip", "br", "zstd", "gzip-gzip"],
)
def test_63_a_bomb_is_given_up_in_little_memory(
    web: Any, new: Any, server: WebServer, coding: str, packed: bytes
) -> None:
    server.routes["/bomb"] = lambda e: e.answer(packed, headers=(f"Content-Encoding: {coding}",))
    assert new(web(), "/bomb")[0] == "decompression-bomb"
    few = options(max_decompressed_bytes=100)
    assert new(web(), "/gzip", options=few)[0] == "ok"
    server.routes["/101"] = lambda e: e.answer(
        zipped(b"x" * 101), headers=("Content-Encoding: gzip",)
    )
    assert new(web(), "/101", options=few)[0] == "decompression-bomb"


@pytest.mark.slow
def test_56_servers_that_do_not_answer(
    web: Any, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_records, "BUFFERED_S", 0.3)
    for path in ("/silent", "/drip"):
        began = time.monotonic()
        assert fetch(web(), path)[0] == "timeout"
        assert time.monotonic() - began < 2
    assert fetch(web(), "/garbage")[0] == "protocol"
    assert fetch(web(), "/headers")[0] == "protocol"
    assert fetch(web(), "/cut")[0] == "protocol"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    consent = (parse_egress(f"127.0.0.1:{port}"),)
    instance = web()
    object.__setattr__(instance.services, "network", Network(resolve=resolve, consent=consent))
    assert fetch(instance, f"http://good.test:{port}/")[0] == "connection-error"


def test_a_guest_that_is_stopped_stops_waiting(web: Any, fetch: Any) -> None:
    cancel = CancelToken()
    threading.Timer(0.1, cancel.fire).start()
    began = time.monotonic()
    assert fetch(web(cancel=cancel), "/silent")[0] == "closed"
    assert time.monotonic() - began < 2


def test_57_58_streams(world: Any, web: Any, call: Any, server: WebServer) -> None:
    instance = web()
    url = f"http://good.test:{server.port}/hello"

    def start() -> Any:
        record = (url, ("get", None), [], None)
        return call(instance, "http-stream-start", record, interface=OLD)

    def method(name: str, stream: Any) -> Any:
        return call(instance, f"[method]http-stream.{name}", stream, interface=OLD)[1]

    streams = [start()[1] for _ in range(4)]
    assert start()[0] == "quota"
    first = streams[0]
    assert method("status", first) == 200
    assert ("x-one", "1") in method("headers", first)
    assert [method("read-chunk", first) for _ in range(3)] == [b"hello", b"", b""]
    first.close()
    case, _ = call(instance, "[method]http-stream.read-chunk", first, interface=OLD)
    assert (case, method("status", first), method("headers", first)) == ("closed", 0, [])
    assert call(instance, "[method]http-stream.close", first, interface=OLD) == ("ok", None)
    case, fifth = start()
    assert case == "ok"
    stream = method("body-stream", fifth)
    pollable = method("subscribe-readable", fifth)
    assert instance.wait((pollable.source,), timeout_s=5).value == "ready"
    streams_host = "astrid:io/streams@1.0.0"
    read = call(instance, "[method]input-stream.blocking-read", stream, 9, interface=streams_host)
    assert read == ("ok", b"hello")
    again = method("body-stream", fifth)
    read = call(instance, "[method]input-stream.read", again, 9, interface=streams_host)
    assert read == ("closed", None)
    status = [e.detail.get("status") for e in world.audited if e.action == "http.response"]
    assert status == ["200"] * 5


@pytest.mark.parametrize(
    ("text", "path", "case"),
    [
        (f"sha256-{HELLO}", "/hello", "ok"),
        ("sha256-AAAA", "/hello", "invalid-request"),
        ("md5-x", "/hello", "invalid-request"),
        ("", "/hello", "invalid-request"),
        (f"sha256-{HELLO}", "/seen", "integrity-mismatch"),
        (f"sha256-{HELLO} sha256-{'A' * 43}=", "/hello", "ok"),
        (f"sha256-{HELLO} sha512-{'A' * 86}==", "/hello", "integrity-mismatch"),
    ],
)
def test_59_60_integrity(web: Any, new: Any, text: str, path: str, case: str) -> None:
    assert new(web(), path, options=options(integrity=text))[0] == case


def test_61_62_64_options_of_redirects(web: Any, new: Any) -> None:
    assert new(web(), "/hello", options=options(https_only=True))[0] == "scheme-denied"
    case, answer = new(web(), "/303", options=options(redirect="manual"))
    assert (case, answer.status) == ("ok", 303)
    assert new(web(), "/303", options=options(redirect="error"))[0] == "redirect-blocked"
    assert new(web(), "/303", options=options(max_redirects=0))[0] == "too-many-redirects"
    case, answer = new(web(), "/303", options=options())
    assert (answer.meta.redirect_count, answer.body) == (1, b"GET")
    assert answer.meta.final_url.endswith("/seen")
    assert answer.meta.wire_bytes == 3


def test_times_can_be_chosen(web: Any, new: Any) -> None:
    assert new(web(), "/silent", options=times(first_byte=100))[0] == "timeout"
    assert new(web(), "/silent", options=times(total=100))[0] == "timeout"
    assert new(web(), "/full", options=options(max_response_bytes=1000))[0] == "body-too-large"


def test_an_upload_is_written_piece_by_piece(web: Any, call: Any, server: WebServer) -> None:
    server.routes["/up"] = lambda e: e.answer(str(len(e.seen.body)).encode())
    instance = web()
    record = (f"http://good.test:{server.port}/up", ("put", None), [], b"ignored")

    def do(function: str, *arguments: Any, interface: str = NEW) -> Any:
        return call(instance, function, *arguments, interface=interface)

    case, upload = do("http-upload-start", record, options())
    assert case == "ok"
    sink = do("[method]http-upload.body-sink", upload)[1]
    flush = "[method]output-stream.blocking-write-and-flush"
    assert do(flush, sink, b"y" * 300_000, interface="astrid:io/streams@1.0.0") == ("ok", None)
    case, stream = do("[method]http-upload.finish", upload)
    assert case == "ok"
    assert do("[method]http-stream.trailers", stream)[0] == "protocol"
    assert do("[method]http-stream.read-chunk", stream) == ("ok", b"300000")
    assert do("[method]http-stream.read-chunk", stream) == ("ok", b"")
    assert do("[method]http-stream.trailers", stream) == ("ok", None)
    _, dropped = do("http-upload-start", record, options())
    dropped.drop()
    assert do("[method]http-upload.finish", dropped)[0] == "closed"


def test_each_hop_is_on_record_before_it_is_sent(
    world: Any, web: Any, fetch: Any, server: WebServer
) -> None:
    secret = f"http://u:pw@good.test:{server.port}/303?key=secret"
    assert fetch(web(), secret)[0] == "ok"
    kinds = [(e.action, e.outcome, e.detail.get("method")) for e in world.audited]
    assert kinds == [
        ("http.request", "allowed", "GET"),
        ("http.request", "allowed", "GET"),
        ("http.response", "allowed", "GET"),
    ]
    assert all(word not in repr(world.audited) for word in ("secret", "pw", "303?"))
    world.audit_fails = True
    assert fetch(web(), "/hello")[0] == "unknown"
    assert [seen.path for seen in server.seen] == ["/303?key=secret", "/seen"]
