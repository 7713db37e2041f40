"""The vote. Asked about every action, so the file is read only when it changed."""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime
from pathlib import Path

from astrid_hookspecs import hookimpl
from astrid_hookspecs.authz import AuthzRequest, Vote

from astrid_authz_policy.voter import Voter

ASTRID_API = (1, 0)
"""The hook contract this plugin was written for."""

VARIABLE = "ASTRID_AUTHZ_POLICY"
FILE_NAME = "authz-policy.toml"


def policy_path() -> Path:
    """`$ASTRID_AUTHZ_POLICY`, else `etc/authz-policy.toml` of the runtime home."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    home = os.environ.get("ASTRID_HOME")
    return (Path(home) if home else Path.home() / ".astrid") / "etc" / FILE_NAME


@functools.cache
def _voter() -> Voter:
    return Voter(policy_path(), now=lambda: datetime.now(UTC))


@hookimpl
def astrid_authorize(request: AuthzRequest) -> Vote:
    """DENY what a rule names, and everything while the file cannot be used; else ABSTAIN."""
    return _voter().vote(request)
