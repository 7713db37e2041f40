"""Read what a capsule declares, by importing it. Run by the builder in a process of its own.

Usage: `describe PACKAGE OUTPUT DIRECTORY...`: imports PACKAGE with DIRECTORY... in front of the
module path and writes one JSON object to the file OUTPUT. Host functions do not answer, exactly as
while a component is built.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from astrid_sdk import dispatch
from astrid_sdk.bindings import ALWAYS_IMPORTED, INTERFACES
from astrid_sdk.declarations import Capsule, Place, capsule_of, place_of
from astrid_sdk.errors import DeclarationError
from astrid_sdk.routes import routes_of


def declarations(capsule: Capsule) -> dict[str, Any]:
    """Everything the builder needs, as JSON types."""
    routes = routes_of(capsule)
    return {
        "package": capsule.package,
        "description": capsule.description,
        "tools": [
            {**tool.descriptor, "place": _place(tool.place)} for tool in capsule.tools.values()
        ],
        "commands": [
            {"name": item.name, "description": item.description}
            for item in capsule.commands.values()
        ],
        "subscribe": [
            {"place": _place(_place_of_route(capsule, route.action)), **route._asdict()}
            for route in routes.subscribe
        ],
        "publish": list(routes.publish),
        "hooks": {name: _place(place_of(hook)) for name, hook in capsule.hooks.items()},
        "interfaces": sorted(
            short
            for short in INTERFACES
            if short in ALWAYS_IMPORTED or f"astrid_sdk.{short}" in sys.modules
        ),
    }


def main(arguments: list[str]) -> int:
    """Import the package and write the answer; a failed import is an answer, too."""
    package, output, *directories = arguments
    sys.path[:0] = directories
    try:
        module = importlib.import_module(package)
        capsule = capsule_of(package)
        capsule.description = dispatch.describe_module(module)
        answer: dict[str, Any] = {"capsule": declarations(capsule)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - authors raise anything
        answer = {"error": _failure(error, directories)}
    Path(output).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _failure(error: BaseException, directories: list[str]) -> dict[str, Any]:
    """Type, text and the author's own frames; frames of the SDK and the library are left out."""
    frames = [
        {"file": frame.filename, "line": frame.lineno, "text": frame.line or ""}
        for frame in traceback.extract_tb(error.__traceback__)
        if any(frame.filename.startswith(f"{item}/") for item in directories)
        and "/astrid_sdk/" not in frame.filename
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append({"file": error.filename, "line": error.lineno, "text": error.text or ""})
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    declared = isinstance(error, DeclarationError)
    return {"type": type(error).__name__, "text": text, "declaration": declared, "frames": frames}


def _place(place: Place | None) -> dict[str, Any] | None:
    return None if place is None else {"file": place.file, "line": place.line}


def _place_of_route(capsule: Capsule, action: str) -> Place | None:
    if (found := capsule.interceptors.get(action)) is not None:
        return found.place
    tool = capsule.tools.get(action.removeprefix("tool_execute_"))
    return None if tool is None else tool.place


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
