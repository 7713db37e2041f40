"""The public names of the contract are as recorded, so that none goes away by accident.

After a deliberate change: `python tests/contract/test_hooks_names.py` writes the record again; a
removed name needs a deprecation first (`astrid_hookspecs.deprecations`).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
from pathlib import Path

import astrid_hookspecs

RECORD = Path(__file__).with_name("public_names.json")


def public_names() -> dict[str, list[str]]:
    """Names that each module defines itself, records with their fields, classes with methods."""
    found: dict[str, list[str]] = {}
    for module_info in pkgutil.iter_modules(astrid_hookspecs.__path__):
        module = importlib.import_module(f"astrid_hookspecs.{module_info.name}")
        names: list[str] = []
        for name, value in vars(module).items():
            if name.startswith("_") or inspect.ismodule(value):
                continue
            if getattr(value, "__module__", module.__name__) != module.__name__:
                continue
            names.append(name)
            if inspect.isclass(value):
                names.extend(f"{name}.{member}" for member in _members(value))
        found[module.__name__] = sorted(names)
    return found


def _members(value: type) -> list[str]:
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if issubclass(value, tuple):
        return list(value._fields)  # type: ignore[attr-defined]
    own = {**vars(value), **getattr(value, "__annotations__", {})}
    return [name for name in own if not name.startswith("_")]


def test_public_names_are_as_recorded() -> None:
    assert public_names() == json.loads(RECORD.read_text()), (
        "the contract changed: see the top of this file"
    )


if __name__ == "__main__":
    RECORD.write_text(json.dumps(public_names(), indent=1, sort_keys=True) + "\n")
