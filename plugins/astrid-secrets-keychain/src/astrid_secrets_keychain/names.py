"""What a secret may be called and how long it may be. Spec: kernel-and-security 9.3, 9.4."""

from __future__ import annotations

import re
from typing import Final

from astrid_hookspecs.errors import SecretError

MAX_NAME_BYTES: Final = 1024
MAX_VALUE_BYTES: Final = 65_536
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_SCOPE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_.-]{1,128}")


def check_place(scope: str, name: str | None = None) -> None:
    """Refuse scopes and names that cannot be.

    Raises:
        SecretError: `secret.name`.
    """
    if _SCOPE.fullmatch(scope) is None:
        raise SecretError("this is no scope of secrets", code="secret.name")
    if name is None:
        return
    if not name or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES or _CONTROL.search(name):
        raise SecretError("this is no name of a secret", code="secret.name")


def check_value(value: bytes) -> None:
    """Refuse values of a wrong length, without showing them.

    Raises:
        SecretError: `secret.size`.
    """
    if not 0 < len(value) <= MAX_VALUE_BYTES:
        raise SecretError(
            f"a secret has 1 to {MAX_VALUE_BYTES} bytes, not {len(value)}", code="secret.size"
        )
