"""Public MCP servers at fixed versions, installed once into a directory that tests keep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PYPI = ("mcp-server-time==2026.10.19", "mcp-server-git==2026.10.19", "mcp-server-fetch==2026.10.24")
QUIETLY = (
    *("--prefer-offline", "--silent", "--no-audit", "--no-fund"),
    *("--fetch-timeout", "30000"),  # a registry that answers nothing is asked again, not waited for
)
NPM = tuple(f"@modelcontextprotocol/server-{name}@2026.8.31" for name in ("everything", "memory"))


def from_pypi(directory: Path) -> Path:
    """The folder with the programs of the servers from PyPI."""
    done = directory / "pypi" / "installed"
    if not done.exists() or done.read_text() != str(PYPI):
        environment = directory / "pypi"
        _run("uv", "venv", "-q", "--clear", "--python", sys.executable, str(environment))
        _run("uv", "pip", "install", "-q", "--python", str(environment / "bin/python"), *PYPI)
        done.write_text(str(PYPI))
    return directory / "pypi" / "bin"


def from_npm(directory: Path) -> Path:
    """The folder with the programs of the servers from npm."""
    done = directory / "npm" / "installed"
    if not done.exists() or done.read_text() != str(NPM):
        place = directory / "npm"
        place.mkdir(exist_ok=True)
        _run("npm", "install", *QUIETLY, "--prefix", str(place), *NPM)
        done.write_text(str(NPM))
    return directory / "npm" / "node_modules" / ".bin"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=300)
