"""Bring a capsule's third-party dependencies into its component.

Only pure Python works: a component has its own processor, so wheels with native code are refused
by name. Wheels are unpacked, never built, so nothing of a dependency runs here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from astrid_hookspecs.engines import Progress
from astrid_sdk_host.processes import Expectation, python_command, run_child
from astrid_sdk_host.project import build_error

GUEST_PYTHON: Final = "3.14"
_NATIVE: Final = (".so", ".pyd", ".dylib", ".dll", ".a")
_TIMEOUT_S: Final = 300.0


def vendor(requirements: Sequence[str], target: Path, *, progress: Progress | None = None) -> None:
    """Install requirements into an empty directory.

    Raises:
        CapsuleError: `capsule.build`: there is no installer, a requirement cannot be met with pure
            Python, or a wheel has native code.
    """
    command = _installer(target)
    finished = run_child(
        [*command, *requirements],
        directory=target,
        timeout_s=_TIMEOUT_S,
        environment={"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"},
        expect=Expectation("collecting dependencies", 10.0),
        progress=progress,
    )
    if finished.status != 0:
        raise build_error(
            f"the dependencies cannot be collected: {', '.join(requirements)}",
            hint="a component takes pure Python wheels only; the installer said:\n"
            + finished.output.strip()[-2000:],
        )
    native = sorted(path for path in target.rglob("*") if path.suffix in _NATIVE)
    if native:
        owners = sorted({path.relative_to(target).parts[0] for path in native})
        raise build_error(
            f"native code cannot run in a component: {', '.join(owners)}",
            hint="choose a pure Python library, or call a host interface instead",
        )


def _installer(target: Path) -> list[str]:
    where = ["--target", str(target), "--only-binary", ":all:", "--python-version", GUEST_PYTHON]
    if importlib.util.find_spec("pip") is not None:
        pure = ["--platform", "any", "--implementation", "py", "--abi", "none", "--no-compile"]
        return python_command("-m", "pip", "install", "--quiet", *where, *pure)
    beside = str(Path(sys.executable).parent)
    if uv := shutil.which("uv", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"):
        return [uv, "pip", "install", "--quiet", "--no-config", *where]
    raise build_error(
        "the capsule has dependencies, and there is neither pip nor uv to collect them",
        hint="install one of them into the environment of the SDK",
    )
