"""Names in `run/` by which a daemon and its clients find each other.

Spec: kernel-and-security 2.2.
"""

from __future__ import annotations

from pathlib import Path


class RunPaths:
    """Paths in `run/`; computing them touches nothing.

    Args:
        run: The directory, mode 0700.
    """

    def __init__(self, run: Path) -> None:
        self.directory = run
        self.socket = run / "system.sock"
        self.token = run / "system.token"
        self.ready = run / "system.ready"
        self.lock = run / "system.lock"
