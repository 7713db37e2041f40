"""What a refusal, and a failure of the client library or the system, is called.

Loaded with the client library, at the first request. Spec: host-abi 18.2.
"""

from __future__ import annotations

import ssl
from typing import Final

import httpcore2

from astrid_core.host.http_bounds import HttpError
from astrid_core.security.network_checks import LOCAL_EGRESS
from astrid_hookspecs.errors import DeniedError

_CASES: Final = (
    (httpcore2.TimeoutException, "timeout", ""),
    (httpcore2.RemoteProtocolError, "protocol", "the answer is malformed"),
    (httpcore2.LocalProtocolError, "invalid-request", ""),
)


def denied(error: DeniedError, *, is_redirect: bool) -> HttpError:
    """The case of a hop that the gate refused."""
    case = "airlock-rejected" if error.rule == LOCAL_EGRESS else "capability-denied"
    if is_redirect:
        return HttpError("redirect-blocked", case)
    return HttpError(case)


def foreseen(error: Exception, *, is_answered: bool) -> HttpError:
    """The case of what the client library or the system reports."""
    if isinstance(error, httpcore2.NetworkError):
        if isinstance(error.__cause__ or error.__context__, ssl.SSLError):
            return HttpError("tls-error")
        broke = HttpError("protocol", "the connection broke")
        return broke if is_answered else HttpError("connection-error")
    for kind, case, text in _CASES:
        if isinstance(error, kind):
            return HttpError(case, text)
    return HttpError("unknown", "internal error")
