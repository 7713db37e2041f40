"""Find uses of files that no entry of the manifest allows. Runs nothing and looks at no file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from astrid_hookspecs.builders import Finding
from astrid_sdk.fs_paths import PARENT, WORKSPACE, Place, covers, read_path
from astrid_sdk_host.project import MANIFEST
from astrid_sdk_host.sources import FileCall, SourceFacts

_EVERYTHING: Final = Place(WORKSPACE, ())


def check_files(manifest: dict[str, Any], facts: SourceFacts) -> Iterator[Finding]:
    """Findings about `fs_read` and `fs_write`, each once."""
    lists = {name: _entries(manifest, name) for name in ("fs_read", "fs_write")}
    told: set[str] = set()
    for call in facts.file_calls:
        message = _refusal(call, lists[call.listed])
        if message is not None and message not in told:
            told.add(message)
            yield Finding(f"missing-{call.listed}", "warning", message, call.file, call.line)
    if "fs" in facts.modules and not facts.file_calls and not any(lists.values()):
        message = (
            "the code imports astrid_sdk.fs, and every use of a file will be refused: "
            f'add fs_read = ["{_EVERYTHING.text}"] below [capabilities]'
        )
        yield Finding("missing-fs_read", "warning", message, MANIFEST)


def _refusal(call: FileCall, entries: list[str]) -> str | None:
    """Why a call will be refused, None when it may be allowed."""
    place = None if call.path is None else read_path(call.path)
    if place is not None and PARENT in place.parts:
        place = None  # where it leads depends on links
    if entries and (place is None or _may_cover(entries, place)):
        return None
    entry = json.dumps((place or _EVERYTHING).text, ensure_ascii=False)
    add = f"add {entry} to {call.listed}" if entries else f"add {call.listed} = [{entry}]"
    verb = "reads" if call.listed == "fs_read" else "changes"
    what = "files" if place is None else place.text
    return f"the code {verb} {what}, which will be refused: {add} below [capabilities]"


def _may_cover(entries: list[str], place: Place) -> bool:
    """A literal path of the host may hold the workspace, so it may cover what is in that."""
    return any(
        covers(entry, place) or (entry.startswith("/") and place.scheme == WORKSPACE)
        for entry in entries
    )


def _entries(manifest: dict[str, Any], name: str) -> list[str]:
    capabilities = manifest.get("capabilities")
    listed = capabilities.get(name) if isinstance(capabilities, dict) else None
    return [entry for entry in listed if isinstance(entry, str)] if isinstance(listed, list) else []
