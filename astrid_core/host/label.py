"""Names that guests give: platforms, accounts, keys. Spec: host-abi 2.6."""

from __future__ import annotations

import re
from typing import Final

from astrid_core.domain.elicitation import MAX_KEY
from astrid_hookspecs.engines import WitError

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_label(text: str, *, limit_bytes: int, may_be_blank: bool = False) -> str:
    """Check a name.

    Returns:
        The name, unchanged.

    Raises:
        WitError: `invalid-input`: blank, too long, or with a control character.
    """
    if not (text.strip() or may_be_blank):
        raise WitError("invalid-input")
    # The character count bounds the byte count from below, so hostile text is not encoded first.
    if len(text) > limit_bytes or len(text.encode("utf-8", "replace")) > limit_bytes:
        raise WitError("invalid-input")
    if CONTROL.search(text):
        raise WitError("invalid-input")
    return text


def check_uuid(text: str) -> str:
    """Check the text of a UUID: 32 hex digits in five groups.

    Returns:
        It, in lower case.

    Raises:
        WitError: `invalid-input`.
    """
    if _UUID.fullmatch(text) is None:
        raise WitError("invalid-input")
    return text.lower()


_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def is_secret_key(text: str) -> bool:
    """Whether a secret that somebody was asked for can have this name."""
    return 0 < len(text) <= MAX_KEY and ":" not in text and "/" not in text and text.isprintable()
