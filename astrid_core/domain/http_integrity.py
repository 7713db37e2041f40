"""Subresource integrity: whether a body is the one that was expected.

Spec: astrid:http@1.1.0 request-options.integrity; host-abi 7.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

_BYTES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
"""Digest sizes, weakest first."""
MAX_TEXT: Final = 4096


class IntegrityText:
    """A parsed expectation, fed with the body.

    Args:
        text: `sha256-BASE64`, several separated by blanks: any of the strongest kind may match.

    Raises:
        ValueError: It is malformed, or longer than 4096 characters.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_TEXT:
            raise ValueError(f"it has more than {MAX_TEXT} characters")
        found: dict[str, list[bytes]] = {}
        for item in text.split():
            name, _, encoded = item.partition("-")
            try:
                digest = base64.b64decode(encoded, validate=True)
            except binascii.Error as error:
                raise ValueError("a digest is not base64") from error
            if _BYTES.get(name) != len(digest):
                raise ValueError("no known algorithm has such a digest")
            found.setdefault(name, []).append(digest)
        if not found:
            raise ValueError("there is no digest")
        strongest = max(found, key=list(_BYTES).index)
        self._wanted = found[strongest]
        self._hash = hashlib.new(strongest)

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        self._hash.update(data)

    def matches(self) -> bool:
        """Whether the body so far is an expected one."""
        digest = self._hash.digest()
        return any(hmac.compare_digest(digest, wanted) for wanted in self._wanted)
