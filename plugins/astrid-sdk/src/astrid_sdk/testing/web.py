"""The web of the fake host: answers by method and address.

Spec: host-abi 7.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from astrid_sdk.testing.cases import require


class Pair(NamedTuple):
    """As the generated record."""

    key: str
    value: str


class Request(NamedTuple):
    """As the generated record."""

    url: str
    method: Any
    headers: list[Pair]
    body: bytes | None


class Answer(NamedTuple):
    """As the generated record."""

    status: int
    headers: list[Pair]
    body: bytes


class Sent(NamedTuple):
    """A request that the capsule sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


class _Method(NamedTuple):
    """Stands for the generated cases of `http-method`."""

    value: str


class Host(Protocol):
    """What is needed of the fake host."""

    web: dict[str, tuple[int, bytes]]
    sent: list[Sent]


class FakeHttp:
    """Functions and types of `astrid:http/host`; what `host.web` does not have is refused."""

    KeyValuePair = Pair
    HttpRequestData = Request
    HttpMethod_Other = _Method

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        """The case of a method, `HttpMethod_Get`."""
        if not name.startswith("HttpMethod_"):
            raise AttributeError(name)
        return lambda: _Method(name.removeprefix("HttpMethod_").upper())

    def http_request(self, request: Request) -> Answer:
        """What the test says about the method and the address: `GET https://...`."""
        method = request.method.value
        require(request.url.startswith(("http://", "https://")), case="invalid-request")
        wanted = f"{method} {request.url}"
        found = self._host.web.get(wanted)
        detail = f"harness.host.web[{wanted!r}] is not set"
        require(found is not None, case="capability-denied", detail=detail)
        headers = {one.key: one.value for one in request.headers}
        self._host.sent.append(Sent(method, request.url, headers, request.body))
        status, body = found or (0, b"")
        return Answer(status, [], body)
