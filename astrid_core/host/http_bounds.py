"""How long and how much a request may take, and how it fails. Spec: host-abi 7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEAST_S: Final = 0.05
"""No wait for the network is shorter: no time at all would be another way of reading."""


class HttpError(Exception):
    """Why there is no answer. `case` is one of 1.1, `text` goes with cases that have one."""

    def __init__(self, case: str, text: str = "") -> None:
        super().__init__(case)
        self.case = case
        self.text = text


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how much; see `request-options`. Seconds and bytes.

    Attributes:
        connect_s: Look-up, connection and handshake of each hop.
        first_byte_s: From there to the head of the answer.
        gap_s: Between two pieces of the body.
        total_s: Of everything; None for no bound.
        body_bytes: On the wire; None for no bound.
        decoded_bytes: After decompression; only looked at where something is decompressed.
        redirect: `follow`, `error` or `manual`.
        max_redirects: How many are followed.
        decodes: Whether compression is offered and undone.
        https_only: Whether a hop over plain HTTP is refused.
        integrity: What the body has to be; None for anything.
    """

    connect_s: float = 30.0
    first_byte_s: float = 120.0
    gap_s: float = 120.0
    total_s: float | None = None
    body_bytes: int | None = None
    decoded_bytes: int = 10 * 1024 * 1024
    redirect: str = "follow"
    max_redirects: int = 10
    decodes: bool = False
    https_only: bool = False
    integrity: str | None = None
