from __future__ import annotations

import pytest

from astrid_core.domain.manifest_entries import McpServer
from astrid_core.domain.server_environment import is_blocked, usable


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "LD_DEBUG", "ld_audit", "https_proxy", "Node_Options",
     "npm_config_registry", "PATH", "home", "NODE_OPTIONS", "Pythonpath",
     "HTTPS_PROXY", "SSL_CERT_FILE", "ASTRID_HOME", "GIT_SSH_COMMAND", "DYLD_INSERT_LIBRARIES"],
)  # fmt: skip
def test_variable_denied_when_it_decides_what_code_runs(name: str) -> None:
    assert is_blocked(name)


@pytest.mark.parametrize("name", ["TZ", "FOO", "LDFLAGS", "API_KEY", "LDAP_URL", "MY_PATH"])
def test_other_variables_are_free(name: str) -> None:
    assert not is_blocked(name)


def test_what_cannot_be_passed_on_is_named() -> None:
    given, refused = usable({"A": "1", "PATH": "/x", "": "e", "B=C": "x", "N": "a\0b"})
    assert given == {"A": "1"}
    assert refused == ("PATH", "", "B=C", "N")


@pytest.mark.parametrize(
    ("kind", "is_run"), [("stdio", True), ("http", True), ("sse", False), (None, False)]
)
def test_which_servers_are_run(kind: str | None, is_run: bool) -> None:
    assert McpServer("x", type=kind).is_run is is_run
