"""Make the manifest of a built capsule: what the author wrote, plus what the code declares.

Nothing is granted that the author did not write, except what a tool needs to be called and to
answer. An author who routes some tools by hand is taken at their word: the others stay unrouted,
and `check` says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.items import InlineTable

from astrid_sdk.declarations import DEFAULT_PRIORITY
from astrid_sdk_host.project import MANIFEST, Project, build_error

TOOL_PREFIX: Final = "tool.v1.execute."
_OPAQUE: Final = "opaque"


def routes_tools_by_hand(manifest: dict[str, Any]) -> bool:
    """Whether the author wrote handlers of tools into the manifest."""
    entries = manifest.get("subscribe", {})
    return isinstance(entries, dict) and any(
        topic.startswith(TOOL_PREFIX) and isinstance(entry, dict) and "handler" in entry
        for topic, entry in entries.items()
    )


def grants_results_by_hand(manifest: dict[str, Any]) -> bool:
    """Whether the author wrote result topics of tools into the manifest."""
    entries = manifest.get("publish", {})
    return isinstance(entries, dict) and any(topic.startswith(TOOL_PREFIX) for topic in entries)


def component_file(project: Project) -> str:
    """File name of the component.

    Raises:
        CapsuleError: `capsule.build`: the manifest names a path, or nothing.
    """
    listed = project.manifest.get("component")
    if not listed:
        return f"{project.name}.wasm"
    first = listed[0] if isinstance(listed, list) else None
    name = first.get("file", first.get("entrypoint")) if isinstance(first, dict) else None
    if not isinstance(name, str) or not name or name in (".", "..") or Path(name).name != name:
        raise build_error(f"{MANIFEST}: [[component]] file must be a plain file name, not {name!r}")
    return name


def make_manifest(project: Project, declared: dict[str, Any]) -> str:
    """The text of the built `Capsule.toml`; the author's comments are kept.

    Args:
        project: The project.
        declared: Its declarations, from `inspection`.

    Raises:
        CapsuleError: `capsule.build`: a table of the author has the wrong shape.
    """
    path = project.root / MANIFEST
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    document = tomlkit.parse(text)
    package = _table(document, "package")
    package["name"] = project.name
    package["version"] = project.version
    if project.description or declared["description"]:
        package.setdefault("description", project.description or declared["description"])
    file = component_file(project)
    if not document.get("component"):
        component = tomlkit.table()
        component.update({"file": file, "type": "executable"})
        listed = tomlkit.aot()
        listed.append(component)
        document["component"] = listed
    _publish(document, project, declared)
    _subscribe(document, project, declared)
    _list(document, "command", declared["commands"], keys=("name", "description"))
    tools = [
        {
            "name": tool["name"],
            "description_for_llm": tool["description"],
            "mutable": tool["input_schema"]["mutable"],
        }
        for tool in declared["tools"]
    ]
    _list(document, "tool", tools, keys=("name", "description_for_llm", "mutable"))
    return tomlkit.dumps(document)


def _table(document: TOMLDocument, key: str) -> Any:
    if key not in document:
        document[key] = tomlkit.table()
    table = document[key]
    if not isinstance(table, dict):
        raise build_error(f"{MANIFEST}: [{key}] must be a table")
    return table


def _publish(document: TOMLDocument, project: Project, declared: dict[str, Any]) -> None:
    by_hand = grants_results_by_hand(project.manifest)
    topics = [
        topic
        for topic in declared["publish"]
        if not (by_hand and topic.startswith(TOOL_PREFIX) and topic.endswith(".result"))
    ]
    topics += _legacy(project, "ipc_publish", "publish")
    if not topics:
        return
    table = _table(document, "publish")
    for topic in topics:
        if topic not in table:
            table[topic] = _inline(wit=_OPAQUE)


def _subscribe(document: TOMLDocument, project: Project, declared: dict[str, Any]) -> None:
    by_hand = routes_tools_by_hand(project.manifest)
    legacy = _legacy(project, "ipc_subscribe", "subscribe")
    routes = [route for route in declared["subscribe"] if not (by_hand and route["tool"])]
    if not routes and not legacy:
        return
    table = _table(document, "subscribe")
    for topic in legacy:
        table.setdefault(topic, _inline(wit=_OPAQUE))
    for route in routes:
        entry: dict[str, Any] = {"handler": route["action"]}
        if route["priority"] != DEFAULT_PRIORITY:
            entry["priority"] = route["priority"]
        written = table.get(route["topic"])
        if written is None:
            table[route["topic"]] = _inline(wit=_OPAQUE, **entry)
        elif isinstance(written, str):
            table[route["topic"]] = _inline(wit=str(written), **entry)
        else:
            for key, value in entry.items():
                written.setdefault(key, value)


def _legacy(project: Project, old: str, new: str) -> list[str]:
    """Entries of an old-style list that a new-style table would switch off."""
    if project.manifest.get(new):
        return []
    capabilities = project.manifest.get("capabilities", {})
    listed = capabilities.get(old, []) if isinstance(capabilities, dict) else []
    return [str(topic) for topic in listed] if isinstance(listed, list) else []


def _list(
    document: TOMLDocument, key: str, items: list[dict[str, Any]], *, keys: tuple[str, ...]
) -> None:
    """Add `[[key]]` tables for what the author has not listed."""
    written = document.get(key, [])
    if not isinstance(written, list):
        raise build_error(f"{MANIFEST}: [[{key}]] must be an array of tables")
    known = {str(entry.get("name")) for entry in written}
    missing = [item for item in items if item["name"] not in known]
    if not missing:
        return
    if key not in document:
        document.add(tomlkit.nl())
        document[key] = tomlkit.aot()
    listed: Any = document[key]
    for item in missing:
        table = tomlkit.table()
        table.update({name: item[name] for name in keys if item[name] not in ("", False)})
        listed.append(table)


def _inline(**values: Any) -> InlineTable:
    table = tomlkit.inline_table()
    table.update(values)
    return table
