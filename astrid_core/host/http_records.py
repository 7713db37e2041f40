"""The records of `astrid:http`, what options amount to, and how 1.0 names failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from astrid_core.domain.http_integrity import IntegrityText
from astrid_core.host.http_bounds import Bounds, HttpError
from astrid_hookspecs.engines import WitError

BUFFERED_BYTES: Final = 10 * 1024 * 1024
BUFFERED_S: Final = 30.0
CONNECT_S: Final = 30.0
MAX_CONNECT_S: Final = 120.0
MAX_TOTAL_S: Final = 600.0
WAIT_S: Final = 120.0
MAX_REDIRECTS: Final = 10
_MS: Final = 1000.0
_OLD_CASES: Final[Mapping[str, tuple[str, str]]] = {
    "too-many-redirects": ("unknown", "too many redirects"),
    "integrity-mismatch": ("protocol", "integrity mismatch"),
    "scheme-denied": ("invalid-request", ""),
    "decompression-bomb": ("body-too-large", ""),
}
"""What 1.0 says instead of the cases that came with 1.1. Spec: host-abi 7.2."""

RequestRecord = tuple[str, tuple[str, str | None], list[tuple[str, str]], bytes | None]
"""`http-request-data`: URL, method, headers, body."""


class TimeoutRecord(NamedTuple):
    """The record `timeout-config`; milliseconds."""

    connect: int | None
    first_byte: int | None
    between_bytes: int | None
    total: int | None


class OptionsRecord(NamedTuple):
    """The record `request-options`."""

    timeouts: TimeoutRecord | None
    redirect: str | None
    max_redirects: int | None
    max_response_bytes: int | None
    max_decompressed_bytes: int | None
    auto_decompress: bool | None
    https_only: bool | None
    integrity: str | None


class ResponseRecord(NamedTuple):
    """The record `http-response-data` of 1.0."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class MetaRecord(NamedTuple):
    """The record `response-meta`."""

    final_url: str
    redirect_count: int
    elapsed_ms: int
    wire_bytes: int


class Response11Record(NamedTuple):
    """The record `http-response-data` of 1.1."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    meta: MetaRecord


_NOTHING: Final = OptionsRecord(None, None, None, None, None, None, None, None)


def buffered_bounds(record: tuple[object, ...] | None, *, decodes: bool) -> Bounds:
    """Bounds of a request whose answer is collected.

    Raises:
        WitError: `invalid-request`: the integrity text is malformed.
    """
    return _bounds(record, decodes=decodes, is_buffered=True)


def stream_bounds(record: tuple[object, ...] | None, *, decodes: bool) -> Bounds:
    """Bounds of a request whose answer is read piece by piece; raises as `buffered_bounds`."""
    return _bounds(record, decodes=decodes, is_buffered=False)


def _bounds(record: tuple[object, ...] | None, *, decodes: bool, is_buffered: bool) -> Bounds:
    options = _NOTHING if record is None else OptionsRecord(*record)  # type: ignore[arg-type]  # the lifted record
    times = TimeoutRecord(*(options.timeouts or (None, None, None, None)))
    default_s = BUFFERED_S if is_buffered else None
    total_s = default_s if times.total is None else min(times.total / _MS, MAX_TOTAL_S)
    wire = options.max_response_bytes
    if is_buffered:
        wire = BUFFERED_BYTES if wire is None else min(wire, BUFFERED_BYTES)
    decoded = options.max_decompressed_bytes
    redirects = options.max_redirects
    if options.integrity is not None:
        try:
            IntegrityText(options.integrity)
        except ValueError as error:
            raise WitError("invalid-request") from error
    return Bounds(
        connect_s=CONNECT_S if times.connect is None else min(times.connect / _MS, MAX_CONNECT_S),
        first_byte_s=_first_byte_s(times, total_s),
        gap_s=_gap_s(times, total_s, is_buffered=is_buffered),
        total_s=total_s,
        body_bytes=wire,
        decoded_bytes=BUFFERED_BYTES if decoded is None else min(decoded, BUFFERED_BYTES),
        redirect=options.redirect or "follow",
        max_redirects=MAX_REDIRECTS if redirects is None else min(redirects, MAX_REDIRECTS),
        decodes=decodes if options.auto_decompress is None else options.auto_decompress,
        https_only=bool(options.https_only),
        integrity=options.integrity,
    )


def _first_byte_s(times: TimeoutRecord, total_s: float | None) -> float:
    if times.first_byte is not None:
        return min(times.first_byte / _MS, MAX_TOTAL_S)
    return WAIT_S if total_s is None else total_s


def _gap_s(times: TimeoutRecord, total_s: float | None, *, is_buffered: bool) -> float:
    if times.between_bytes is not None:
        return min(times.between_bytes / _MS, MAX_TOTAL_S)
    return total_s if is_buffered and total_s is not None else WAIT_S


def old_answer(error: HttpError) -> WitError:
    """The error of 1.0 for a failed exchange."""
    if error.case == "redirect-blocked":  # the hop was refused: the text is the rule's case
        return WitError(error.text or "airlock-rejected")
    case, text = _OLD_CASES.get(error.case, (error.case, error.text))
    return WitError(case, text) if case in {"protocol", "unknown"} else WitError(case)
