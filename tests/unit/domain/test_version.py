"""The version, as `astrid version` and the daemon's handshake give it."""

from __future__ import annotations

from astrid_core.domain.semver import Version
from astrid_core.domain.version import VERSION


def test_it_is_a_semantic_version() -> None:
    assert str(Version.parse(VERSION)) == VERSION
