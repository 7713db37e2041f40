"""Write the WIT world of one capsule: only the interfaces it uses, only the exports it defines."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from astrid_hookspecs.errors import CapsuleError
from astrid_sdk.bindings import INTERFACES
from astrid_sdk_host.project import BUILD_CODE

WORLD: Final = "capsule"
_NEWEST: Final = {"process.wit": "process-c.wit"}
"""Packages whose file in `deps` is not the newest shape, which `astrid_sdk` is written for."""
_HOOK: Final = (
    "export astrid-hook-trigger: func(action: string, payload: list<u8>) -> capsule-result;"
)


def wit_directory() -> Path:
    """Where the WIT packages lie: inside the installed distribution.

    Raises:
        CapsuleError: `capsule.build`: the distribution is damaged.
    """
    found = Path(__file__).resolve().parent / "wit"
    if not found.is_dir():
        raise CapsuleError(
            "the SDK is installed without its WIT files",
            code=BUILD_CODE,
            hint="install astrid-sdk again",
        )
    return found


def wit_packages() -> list[Path]:
    """A file for every WIT package, sorted; the newest shape where there are several."""
    directory = wit_directory()
    newest = {path.name: path for path in (directory / "deps").glob("*.wit")}
    newest.update((name, directory / "alternates" / file) for name, file in _NEWEST.items())
    return sorted(newest.values())


def world_text(declared: dict[str, Any]) -> str:
    """The world for a capsule's declarations."""
    imports = [f"import {INTERFACES[name]};" for name in declared["interfaces"]]
    exports = [f"export {name}: func();" for name in sorted(declared["hooks"])]
    if declared["subscribe"] or not exports:
        exports.insert(0, _HOOK)
    lines = ["use astrid:guest/lifecycle@1.0.0.{capsule-result};", *imports, *exports]
    body = "\n".join(f"    {line}" for line in lines)
    return f"package astrid:built@1.0.0;\n\nworld {WORLD} {{\n{body}\n}}\n"


def write_world(directory: Path, text: str, *, packages: Iterable[Path]) -> None:
    """Lay out a WIT directory: the world, and the packages it rests on."""
    (directory / "deps").mkdir(parents=True)
    (directory / "world.wit").write_text(text, encoding="utf-8")
    for package in packages:
        shutil.copyfile(package, directory / "deps" / package.name)
