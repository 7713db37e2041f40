"""Send requests, and have the whole answer. Needs an entry of `net` for the host.

30 seconds and 10 MiB at most. A status of 400 and above is an answer, not an error.

Spec: astrid:http@1.0.0 http-request.
"""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from astrid_sdk.bindings import host_call, host_type
from astrid_sdk.encode import to_json_text
from astrid_sdk.errors import HttpError, host_error

_ADVICE: Final = {
    "airlock-rejected": "it leads to an address inside, and local_egress below [network] in "
    "etc/config.toml does not allow that",
    "capability-denied": "is the host in net of Capsule.toml?",
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"})


class Response(NamedTuple):
    """An answer.

    Attributes:
        status: 200 and so on.
        headers: In the order they came; names in lower case.
        body: All of it.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body read as JSON.

        Raises:
            ValueError: It is not JSON.
        """
        return json_text.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first header of this name, None when there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key == wanted), None)


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    json: object = None,
) -> Response:
    """Send a request and wait for the answer.

    Args:
        method: `GET`, `POST`, ...; others are sent as they are.
        url: Absolute, `http` or `https`.
        headers: `host` and those about the length are the host's own business.
        body: What is sent, if anything.
        json: What is sent as JSON instead, with its content type; None sends nothing.

    Raises:
        HttpError: `CapabilityDeniedError`, `AirlockRejectedError` for an address that is not
            public, `InvalidRequestError`, `HostTimeoutError`, `BodyTooLargeError`, and plain
            `HttpError` for what happens between here and the server.
        TypeError: `json` has no JSON form.
    """
    pairs = dict(headers or {})
    if json is not None:
        body = to_json_text(json).encode()
        pairs.setdefault("content-type", "application/json")
    pair = host_type("http", "KeyValuePair")
    data = host_type("http", "HttpRequestData")(
        url, _method(method), [pair(key, value) for key, value in pairs.items()], body
    )
    try:
        found = host_call("http", "http_request", data)
    except HttpError as error:
        if error.detail is not None or error.case not in _ADVICE:
            raise
        raise host_error("http", error.function, error.case, detail=_ADVICE[error.case]) from None
    return Response(found.status, [(one.key, one.value) for one in found.headers], found.body)


def get(url: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """`request("GET", ...)`; raises as that."""
    return request("GET", url, headers=headers)


def _method(name: str) -> Any:
    if name.upper() in _METHODS:
        return host_type("http", f"HttpMethod_{name.capitalize()}")()
    return host_type("http", "HttpMethod_Other")(name)
