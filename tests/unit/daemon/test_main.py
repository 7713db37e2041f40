"""What the daemon's process sets up for itself before it serves anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from astrid_core.daemon.main import YOUNG_OBJECTS

_STARTED = """
import asyncio, gc
from astrid_core.daemon import main

def run(serving):
    serving.close()
    print(gc.get_threshold()[0])
    return 0

asyncio.run = run
main.main([])
"""


def test_messages_of_many_objects_do_not_keep_the_collector_busy(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _STARTED],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "ASTRID_HOME": str(tmp_path / "home")},
    )
    assert int(ran.stdout) == YOUNG_OBJECTS >= 50_000
