"""What a manifest asks for becomes what the gate looks at."""

from __future__ import annotations

import pytest

from astrid_core.domain.manifest import parse_manifest
from astrid_core.kernel.capsule_spec import capsule_grants
from astrid_core.security.grants import CapsuleGrants

_HEAD = '[package]\nname = "web"\nversion = "0.1.0"\n[capabilities]\n'


def grants(capabilities: str) -> CapsuleGrants:
    return capsule_grants(parse_manifest(_HEAD + capabilities))


def test_sockets() -> None:
    made = grants(
        'net_connect = ["a:1"]\nnet_tcp_bind = ["b:2"]\nnet_udp = ["send:c:3"]\nnet_bind = ["*"]\n'
    )
    assert made.net_connect == ("a:1",)
    assert made.net_tcp_bind == ("b:2",)
    assert made.net_udp == ("send:c:3",)
    assert made.net_bind


@pytest.mark.parametrize("entries", ["[]", '[""]'], ids=["none", "71-empty"])
def test_no_local_socket_without_an_entry_that_says_something(entries: str) -> None:
    assert not grants(f"net_bind = {entries}\n").net_bind
