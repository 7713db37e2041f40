"""Processes that open a new home at once agree on one key, and nobody ever sees half of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from astrid_core.kernel.home import KEY_SIZE

RACERS = 6
ROUNDS = 5
OPEN = """
import hashlib, pathlib, sys
from astrid_core.kernel.home import Home
path = pathlib.Path(sys.argv[1])
sys.stdout.write("ready\\n"); sys.stdout.flush()
for line in sys.stdin:
    home = Home.open(path / line.strip())
    sys.stdout.write(hashlib.sha256(home.runtime_key()).hexdigest() + "\\n"); sys.stdout.flush()
"""


def test_racing_processes_see_one_whole_private_key(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(RACERS)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for number in range(ROUNDS):
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write(f"h{number}\n")
                racer.stdin.flush()
            keys = {racer.stdout.readline() for racer in racers if racer.stdout is not None}
            assert len(keys) == 1
            assert len(keys.pop().strip()) == 64
            key = tmp_path / f"h{number}/keys/runtime.key"
            assert (key.stat().st_size, key.stat().st_mode & 0o777) == (KEY_SIZE, 0o600)
            assert [path.name for path in key.parent.iterdir()] == ["runtime.key"]
    finally:
        for racer in racers:
            racer.communicate(timeout=30)
    assert [racer.returncode for racer in racers] == [0] * RACERS
