"""Requests of guests and redirects, as far as no connection is needed."""

from __future__ import annotations

import pytest

from astrid_core.domain.http_message import (
    MAX_HEADERS,
    MAX_URL,
    HttpRequestError,
    parse_request,
    parse_target,
    redirected,
)

GET = ("get", None)


@pytest.mark.parametrize("url", ["http://./x", "http://..../"])
def test_url_refused_when_no_host_is_left(url: str) -> None:
    with pytest.raises(HttpRequestError, match="no usable host"):
        parse_target(url)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("x-a", "1")] * (MAX_HEADERS + 1), id="number"),
        pytest.param([("x-a", "1" * (1 << 20))], id="bytes"),
    ],
)
def test_headers_refused_when_there_are_too_many(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(HttpRequestError, match="too many headers"):
        parse_request("http://a.test/", GET, headers, None)


@pytest.mark.parametrize(
    ("location", "login"),
    [
        ("/next", "Basic YTpi"),
        ("http://c:d@one.test/next", "Basic Yzpk"),
        ("http://two.test/next", ""),
    ],
)
def test_a_redirect_keeps_the_login_of_its_origin_unless_it_brings_one(
    location: str, login: str
) -> None:
    request = parse_request("http://a:b@one.test/", GET, [], None)
    assert redirected(request, 302, location).target.login == login


@pytest.mark.parametrize(
    ("url", "case"),
    [
        ("http://a.test/\n", "invalid-request"),
        ("http://a.test/" + "x" * MAX_URL, "invalid-request"),
        ("no url", "invalid-request"),
        ("ftp://a.test/", "scheme-denied"),
        ("file:///etc/passwd", "scheme-denied"),
    ],
)
def test_url_refused_when_it_is_none_or_of_another_scheme(url: str, case: str) -> None:
    with pytest.raises(HttpRequestError) as caught:
        parse_target(url)
    assert caught.value.case == case


@pytest.mark.parametrize(
    ("url", "authority", "href"),
    [
        ("HTTP://A.Test", "a.test", "http://a.test/"),
        ("http://0x7f.1:8080/a?b#c", "127.0.0.1:8080", "http://127.0.0.1:8080/a?b"),
        ("https://[::1]:443/", "[::1]", "https://[::1]/"),
        ("https://a.test.:8443/", "a.test:8443", "https://a.test:8443/"),
    ],
)
def test_what_the_host_header_and_people_see(url: str, authority: str, href: str) -> None:
    target = parse_target(url)
    assert (target.authority, target.href) == (authority, href)


@pytest.mark.parametrize("method", [("connect", None), ("get", "connect"), ("get", "A B")])
def test_method_refused_when_it_is_none_or_opens_a_tunnel(method: tuple[str, str | None]) -> None:
    with pytest.raises(HttpRequestError, match="method"):
        parse_request("http://a.test/", method, [], None)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (("x a", "1"), "name"),
        (("", "1"), "name"),
        (("x-a", "1\r\nHost: b.test"), "value"),
        (("x-a", " 1"), "value"),
    ],
)
def test_header_refused_when_it_could_become_another(header: tuple[str, str], problem: str) -> None:
    with pytest.raises(HttpRequestError, match=problem):
        parse_request("http://a.test/", GET, [header], None)


def test_the_headers_that_frame_a_message_are_the_kernels_own() -> None:
    given = [("Host", "b.test"), ("Content-Length", "9"), ("X-A", "1"), ("Authorization", "own")]
    request = parse_request("http://a:b@a.test/", ("post", None), given, b"body")
    own = [(b"Host", b"a.test"), (b"Connection", b"close")]
    rest = [(b"X-A", b"1"), (b"Authorization", b"own")]
    assert request.wire_headers() == [*own, (b"Content-Length", b"4"), *rest]
    assert request.wire_headers(is_streamed=True) == [
        *own,
        (b"Transfer-Encoding", b"chunked"),
        *rest,
    ]
    bare = parse_request("http://a:b@a.test/", GET, [], None).wire_headers()
    assert bare == [*own, (b"Authorization", b"Basic YTpi")]


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (301, "post", "GET"),
        (302, "patch", "GET"),
        (303, "put", "GET"),
        (303, "head", "HEAD"),
        (307, "post", "POST"),
    ],
)
def test_a_redirect_drops_the_body_where_browsers_do(
    status: int, method: str, expected: str
) -> None:
    headers = [("Content-Type", "a/b"), ("Cookie", "c"), ("X-A", "1")]
    request = parse_request("http://a.test/", (method, None), headers, b"body")
    followed = redirected(request, status, "/next")
    is_dropped = expected == "GET"
    assert (followed.method, followed.body) == (expected, None if is_dropped else b"body")
    assert ("Content-Type", "a/b") not in followed.headers or not is_dropped
    assert ("Cookie", "c") in followed.headers
    assert redirected(request, status, "http://b.test/").headers[-1] == ("X-A", "1")
    assert ("Cookie", "c") not in redirected(request, status, "http://b.test/").headers


@pytest.mark.parametrize(
    ("location", "case"), [("http://", "protocol"), ("gopher://a.test/", "scheme-denied")]
)
def test_redirect_refused_when_it_leads_to_no_place(location: str, case: str) -> None:
    request = parse_request("http://a.test/", GET, [], None)
    with pytest.raises(HttpRequestError) as caught:
        redirected(request, 302, location)
    assert caught.value.case == case
