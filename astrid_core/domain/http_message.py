"""Requests of guests: what may be sent at all, and what a redirect makes of it.

Trusted with what goes on the wire: a header that is not one, a method that is not one, or a second
`Host` never gets there. Spec: host-abi 7.1, H-22, H-23.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote_to_bytes

import ada_url

METHODS: Final = (
    "get",
    "head",
    "post",
    "put",
    "delete",
    "connect",
    "options",
    "trace",
    "patch",
)
MAX_URL: Final = 64 * 1024
MAX_HEADERS: Final = 256
MAX_HEADER_BYTES: Final = 64 * 1024
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SCHEMES: Final = {"http": 80, "https": 443}
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REPLACED: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that only the kernel writes: they say where a message goes and where it ends."""
_PRIVATE: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_CONTENT: Final = frozenset({"content-type", "content-encoding", "content-language"})

Headers = tuple[tuple[str, str], ...]


class HttpRequestError(ValueError):
    """A request that cannot be sent. `case` is the error case of 1.1."""

    def __init__(self, message: str, *, case: str = "invalid-request") -> None:
        super().__init__(message)
        self.case = case


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        scheme: `http` or `https`.
        host: Lower case, in ASCII; IPv6 addresses without brackets.
        port: Always a number.
        path: Path and query, as they are sent.
        href: The whole, without fragment and user info; for people and for relative redirects.
        login: User info, ready for `Authorization`; empty for none.
    """

    scheme: str
    host: str
    port: int
    path: str
    href: str
    login: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _SCHEMES[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request that may be sent once the gate allows it.

    Attributes:
        target: Where to.
        method: In capitals, unless the guest named one of its own.
        headers: In order, duplicates kept, without those that the kernel writes.
        body: None for none.
    """

    target: Target
    method: str
    headers: Headers
    body: bytes | None

    def wire_headers(self, *, is_streamed: bool = False) -> list[tuple[bytes, bytes]]:
        """What is sent, the kernel's own headers included.

        Args:
            is_streamed: Whether the body comes piece by piece, with an unknown length.
        """
        own = [("Host", self.target.authority), ("Connection", "close")]
        if is_streamed:
            own.append(("Transfer-Encoding", "chunked"))
        elif self.body is not None or self.method in {"POST", "PUT", "PATCH"}:
            own.append(("Content-Length", str(len(self.body or b""))))
        names = {name.lower() for name, _ in self.headers}
        if self.target.login and "authorization" not in names:
            own.append(("Authorization", self.target.login))
        return [(name.encode(), value.encode()) for name, value in (*own, *self.headers)]


def parse_target(url: str, *, base: Target | None = None) -> Target:
    """Read a URL the way browsers do: odd notations of hosts become the usual one.

    Args:
        url: Absolute, or relative to `base`.
        base: Of a redirect.

    Raises:
        HttpRequestError: `invalid-request`, or `scheme-denied` for another scheme.
    """
    if len(url) > MAX_URL or any(ord(char) < 0x20 or ord(char) == 0x7F for char in url):  # noqa: PLR2004 - C0 and DEL
        raise HttpRequestError("the URL is too long or has control characters")
    try:
        text = url if base is None else ada_url.join_url(base.href, url)
        found = ada_url.URL(text)
    except ValueError as error:
        raise HttpRequestError("the URL cannot be read") from error
    scheme = found.protocol.rstrip(":")
    if scheme not in _SCHEMES:
        raise HttpRequestError("only http and https are served", case="scheme-denied")
    host = found.hostname.removeprefix("[").removesuffix("]").rstrip(".")
    if not host or "%" in host:
        raise HttpRequestError("the URL has no usable host")
    login = ""
    if found.username or found.password:
        pair = unquote_to_bytes(found.username) + b":" + unquote_to_bytes(found.password)
        login = "Basic " + base64.b64encode(pair).decode()
    path = (found.pathname or "/") + found.search
    shown = f"[{host}]" if ":" in host else host
    port = int(found.port) if found.port else _SCHEMES[scheme]
    where = shown if port == _SCHEMES[scheme] else f"{shown}:{port}"
    return Target(scheme, host, port, path, f"{scheme}://{where}{path}", login)


def parse_request(
    url: str,
    method: tuple[str, str | None],
    headers: list[tuple[str, str]],
    body: bytes | None,
) -> OutgoingRequest:
    """Check a guest's request.

    Args:
        url: Absolute.
        method: Case of `http-method`, with the text of `other`.
        headers: Of the guest.
        body: Of the guest.

    Raises:
        HttpRequestError: As `parse_target`; also for a method or header that is none.
    """
    target = parse_target(url)
    name, other = method
    verb = name.upper() if other is None else other
    if _TOKEN.fullmatch(verb) is None or verb.upper() == "CONNECT":
        raise HttpRequestError("the method is none, or opens a tunnel")
    size = sum(len(key) + len(value) for key, value in headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise HttpRequestError("there are too many headers")
    for key, value in headers:
        if _TOKEN.fullmatch(key) is None:
            raise HttpRequestError("a header has no proper name")
        if any(char in "\r\n\0" for char in value) or value != value.strip(" \t"):
            raise HttpRequestError("a header has no proper value")
    kept = tuple((key, value) for key, value in headers if key.lower() not in _REPLACED)
    return OutgoingRequest(target, verb, kept, body)


def redirected(request: OutgoingRequest, status: int, location: str) -> OutgoingRequest:
    """The request that a redirect asks for.

    Args:
        request: That was answered.
        status: One of `REDIRECTS`.
        location: Of the answer; may be relative.

    Raises:
        HttpRequestError: `protocol` for a location that cannot be read; `scheme-denied`.
    """
    try:
        target = parse_target(location, base=request.target)
    except HttpRequestError as error:
        case = "scheme-denied" if error.case == "scheme-denied" else "protocol"
        raise HttpRequestError("the answer redirects to no place", case=case) from error
    headers, body, method = request.headers, request.body, request.method
    drops_body = (status == 303 and method != "HEAD") or (  # noqa: PLR2004 - See Other
        status in {301, 302} and method not in {"GET", "HEAD"}
    )
    if drops_body:
        method, body = "GET", None
        headers = tuple(pair for pair in headers if pair[0].lower() not in _CONTENT)
    if target.origin != request.target.origin:
        headers = tuple(pair for pair in headers if pair[0].lower() not in _PRIVATE)
    elif not target.login:
        target = replace(target, login=request.target.login)
    return OutgoingRequest(target, method, headers, body)
