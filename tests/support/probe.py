"""One component for the tests that look at the kernel from inside a guest written in Python.

Its tools are those of `file_cases.py`, `isolation_probe.py`, `outside_cases.py` and
`people_probe.py`. Each test has a manifest and a home of its own; building and compiling, which
take half a minute, happen once in a test run.
"""

from __future__ import annotations

import asyncio
import shutil
import tomllib
from pathlib import Path
from typing import Final

import pytest

from astrid_core import Kernel
from tests.support import file_cases, isolation_probe, outside_cases, people_probe
from tests.support.capsules import install
from tests.support.heartbeat import once

_PYPROJECT: Final = """
[project]
name = "{name}"
version = "0.1.0"
[tool.astrid]
module = "probe"
"""
_INIT: Final = "from probe import file_cases, isolation_probe, outside_cases, people_probe\n"


def probe_project(directory: Path, manifest: str) -> Path:
    """A project of this source and a manifest; building it finds the component in the cache."""
    package = directory / "src" / "probe"
    name = tomllib.loads(manifest)["package"]["name"]
    package.mkdir(parents=True)
    (directory / "Capsule.toml").write_text(manifest)
    (directory / "pyproject.toml").write_text(_PYPROJECT.format(name=name))
    (package / "__init__.py").write_text(_INIT)
    for module in (file_cases, isolation_probe, outside_cases, people_probe):
        shutil.copy(module.__file__, package)
    return directory


def probe_home(factory: pytest.TempPathFactory, path: Path) -> Path:
    """A home that has nothing but a key and, sealed with it, the compiled component.

    Args:
        factory: Of the test run.
        path: The home to be; does not exist.
    """
    with once(factory, "probe") as (base, is_first):
        if is_first:
            _make(base)
    path.mkdir(mode=0o700)
    for name in ("keys", "cache"):
        shutil.copytree(base / "home" / name, path / name)
    return path


def _make(base: Path) -> None:
    project = probe_project(base / "project", file_cases.MANIFEST)

    async def main() -> None:
        async with Kernel.open(home=base / "home") as kernel:
            with kernel.build(project) as built:
                await install(kernel, built.directory)

    asyncio.run(main())
