"""Why a change to principals or groups was refused, with codes that scripts can rely on."""

from __future__ import annotations

from typing import ClassVar

from astrid_hookspecs.errors import ConfigError


class PrincipalError(ConfigError):
    """A change was refused and nothing was changed.

    Codes: `principal.invalid-name`, `.reserved`, `.exists`, `.not-found`, `.invalid-argument`,
    `.invalid-profile`, `.invalid-quota`, `.lock-out`, `.unsafe`.

    Spec: kernel-and-security 4.4.
    """

    default_code: ClassVar[str] = "principal.invalid-argument"
