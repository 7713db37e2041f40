"""Requests of guests and redirects, as far as no connection is needed."""

from __future__ import annotations

import pytest

from astrid_core.domain.http_message import (
    MAX_HEADERS,
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
