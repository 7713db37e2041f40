"""A name server that never answers holds threads of the kernel: few of each agent, few in all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from astrid_core.host.http_network import MAX_LOOKUPS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_look_ups_denied_when_the_server_never_answers(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs a privilege here")
    ended = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-m", "tests.support.silent_dns"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["alice"] == ["timeout"] * MAX_LOOKUPS
    assert found["other"] == "quota"  # the same agent, in another capsule
    assert found["bob"] == "timeout"
    assert found["threads"] == MAX_LOOKUPS
    assert (found["left"], found["later"]) == (0, "timeout")
