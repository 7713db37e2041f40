"""A name server that never answers holds threads of the kernel: few of each agent, few in all."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.host.http_network import MAX_LOOKUPS
from tests.support.namespaces import run_apart


@pytest.mark.slow
def test_look_ups_denied_when_the_server_never_answers(tmp_path: Path) -> None:
    found = run_apart("tests.support.silent_dns", tmp_path)
    assert found["alice"] == ["timeout"] * MAX_LOOKUPS
    assert found["other"] == "quota"  # the same agent, in another capsule
    assert found["bob"] == "timeout"
    assert found["threads"] == MAX_LOOKUPS
    assert (found["left"], found["later"]) == (0, "timeout")
