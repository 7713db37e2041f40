"""Programs of the tests on a machine of their own: new network and mount namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]


def run_apart(module: str, directory: Path) -> dict[str, Any]:
    """What a module prints as JSON when it runs there; skips where nobody may make namespaces.

    Args:
        module: Run with `-m`.
        directory: For its temporary files.
    """
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs a privilege here")
    ended = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-m", module],
        cwd=_ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found
