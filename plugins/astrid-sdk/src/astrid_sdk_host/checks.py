"""Find what would fail silently: tools nobody can call, topics nobody granted, secrets in files.

Reads sources and manifest; runs nothing.

Spec: cli-and-ux 12.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from astrid_hookspecs.builders import Finding
from astrid_hookspecs.errors import CapsuleError
from astrid_sdk.declarations import COMMAND_ACTION, COMMAND_TOPIC, DESCRIBE_ACTION, DESCRIBE_TOPIC
from astrid_sdk.routes import DESCRIBE_ANSWER, execute_topic, result_topic
from astrid_sdk.topics import is_subscribable, matches_entry
from astrid_sdk_host.file_checks import check_files
from astrid_sdk_host.manifest import grants_results_by_hand, routes_tools_by_hand
from astrid_sdk_host.project import MANIFEST, Project, read_project, read_toml
from astrid_sdk_host.sources import Declared, SourceFacts, read_sources
from astrid_sdk_host.use_checks import check_uses, odd_types

CAPABILITIES: Final[dict[str, frozenset[str] | None]] = {
    "allow_persistent": frozenset({"process"}),
    "allow_prompt_injection": None,
    "bind_workers": None,
    "fs_read": frozenset({"fs"}),
    "fs_write": frozenset({"fs"}),
    "host_process": frozenset({"process"}),
    "identity": frozenset({"identity"}),
    "ipc_publish": None,
    "ipc_subscribe": None,
    "kv": frozenset(),
    "net": frozenset({"http"}),
    "net_bind": frozenset({"net"}),
    "net_connect": frozenset({"net"}),
    "net_tcp_bind": frozenset({"net"}),
    "net_udp": frozenset({"net"}),
    "uplink": frozenset({"ipc", "uplink"}),
}
"""Known capabilities, and the SDK modules one of which must be imported to use them; None: any."""

_SECRET_VALUE: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\b(ghp|gho|ghs|github_pat|glpat|xox[abp]|sk|rk|pk)[-_][A-Za-z0-9_-]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\."
)
_HEADER: Final = re.compile(r"\s*\[{1,2}\s*(?P<name>[^\]#]+?)\s*\]{1,2}\s*(#.*)?")


def check_project(root: Path) -> list[Finding]:
    """Findings about a Python project, errors of the sources first."""
    try:
        project = read_project(root)
    except CapsuleError as error:
        return [Finding("unreadable", "error", error.message, MANIFEST)]
    files = [project.source] if project.source.is_file() else sorted(project.source.rglob("*.py"))
    facts = read_sources(files, root=project.root)
    findings = [
        Finding("syntax-error", "error", message, file, line)
        for message, file, line in facts.syntax_errors
    ]
    findings += _check_tools(project, facts)
    findings += _check_topics(project, facts)
    findings += _check_handlers(project, facts)
    findings += check_files(project.manifest, facts)
    findings += check_uses(project.manifest, facts)
    modules = None if facts.syntax_errors else facts.modules  # what cannot be read may use it
    findings += check_manifest(project.root, modules=modules)
    return findings


def check_manifest(root: Path, *, modules: set[str] | None = None) -> list[Finding]:
    """Findings about the manifest alone.

    Args:
        root: The project.
        modules: SDK modules the sources import; None when that is not known.
    """
    try:
        manifest = read_toml(root / MANIFEST)
    except CapsuleError as error:
        return [Finding("unreadable", "error", error.message, MANIFEST)]
    text = (root / MANIFEST).read_text(encoding="utf-8") if manifest else ""
    findings = list(_check_capabilities(manifest, text, modules))
    findings += _check_secrets(manifest, text)
    findings += [
        Finding("env-type", "warning", message, MANIFEST, line_of(text, f"env.{key}", "type"))
        for key, message in odd_types(manifest)
    ]
    return findings


def line_of(text: str, table: str, key: str) -> int | None:
    """Line of a key inside a TOML table; of the table's header if the key is not found."""
    current, found = "", None
    wanted = re.compile(rf"\s*(\"{re.escape(key)}\"|'{re.escape(key)}'|{re.escape(key)})\s*=")
    for number, line in enumerate(text.splitlines(), start=1):
        if (header := _HEADER.fullmatch(line)) is not None:
            current = header["name"].replace('"', "")
            if current in (table, f"{table}.{key}"):
                found = number
        elif current == table and wanted.match(line):
            return number
    return found


def _check_tools(project: Project, facts: SourceFacts) -> Iterator[Finding]:
    entries = _entries(project.manifest, "subscribe")
    grants = _entries(project.manifest, "publish")
    for tool in _of_kind(facts, "tool"):
        topic, answer = execute_topic(tool.text), result_topic(tool.text)
        entry = entries.get(topic)
        is_routed = isinstance(entry, dict) and "handler" in entry
        if routes_tools_by_hand(project.manifest) and not is_routed:
            message = (
                f"the manifest routes tools by hand but not {tool.text!r}: nobody can call it; "
                f'add [subscribe] "{topic}" with handler = "tool_execute_{tool.text}"'
            )
            yield Finding("unrouted-tool", "error", message, tool.file, tool.line)
        if grants_results_by_hand(project.manifest) and not _granted(answer, grants):
            message = f'{tool.text!r} can not answer: add [publish] "{answer}"'
            yield Finding("missing-publish", "error", message, tool.file, tool.line)


def _check_topics(project: Project, facts: SourceFacts) -> Iterator[Finding]:
    publish = [*_grants(project.manifest, "publish", "ipc_publish"), DESCRIBE_ANSWER]
    publish += [result_topic(tool.text) for tool in _of_kind(facts, "tool")]
    subscribe = list(_grants(project.manifest, "subscribe", "ipc_subscribe"))
    subscribe += [item.text for item in _of_kind(facts, "interceptor")]
    for call in facts.calls:
        grants = publish if call.kind == "publish" else subscribe
        if not _granted(call.topic, grants):
            message = (
                f'{call.topic} is not granted and will be refused: add [{call.kind}] "{call.topic}"'
            )
            yield Finding(f"missing-{call.kind}", "error", message, call.file, call.line)
    if any(_of_kind(facts, "run")):
        for item in _of_kind(facts, "interceptor"):
            if not is_subscribable(item.text):
                message = f"a run loop can not subscribe to {item.text!r}: '*' only stands last"
                yield Finding("dangling-subscription", "error", message, item.file, item.line)


def _check_handlers(project: Project, facts: SourceFacts) -> Iterator[Finding]:
    text = _manifest_text(project)
    actions = {f"tool_execute_{tool.text}" for tool in _of_kind(facts, "tool")}
    actions |= {DESCRIBE_ACTION} if actions else set()
    actions |= {item.function for item in _of_kind(facts, "interceptor")}
    commands = [item.text for item in _of_kind(facts, "command")]
    actions |= {COMMAND_ACTION, *commands} if commands else set()
    right = {item.text: item.function for item in _of_kind(facts, "interceptor")}
    right |= {execute_topic(t.text): f"tool_execute_{t.text}" for t in _of_kind(facts, "tool")}
    right |= {DESCRIBE_TOPIC: DESCRIBE_ACTION, COMMAND_TOPIC: COMMAND_ACTION}
    for topic, entry in _entries(project.manifest, "subscribe").items():
        handler = entry.get("handler") if isinstance(entry, dict) else None
        if handler is None:
            continue
        line = line_of(text, "subscribe", topic)
        if topic in right and handler != right[topic] and right[topic] in actions:
            message = f"{topic} goes to {handler!r}, the code handles it in {right[topic]!r}"
            yield Finding("handler-mismatch", "error", message, MANIFEST, line)
        elif handler not in actions:
            message = f"{topic} goes to {handler!r}, which the code does not define"
            yield Finding("dangling-subscription", "error", message, MANIFEST, line)


def _check_capabilities(
    manifest: dict[str, Any], text: str, modules: set[str] | None
) -> Iterator[Finding]:
    for name, value in _entries(manifest, "capabilities").items():
        line = line_of(text, "capabilities", name)
        if name not in CAPABILITIES:
            message = f"there is no capability {name!r}; known: {', '.join(sorted(CAPABILITIES))}"
            yield Finding("unknown-capability", "error", message, MANIFEST, line)
            continue
        needed = CAPABILITIES[name]
        if value and needed is not None and modules is not None and not needed & modules:
            why = "has no effect" if not needed else "is asked for, but the code never uses it"
            message = f"the capability {name!r} {why}; remove it"
            yield Finding("unused-capability", "warning", message, MANIFEST, line)


def _check_secrets(manifest: dict[str, Any], text: str) -> Iterator[Finding]:
    for key, entry in _entries(manifest, "env").items():
        if not isinstance(entry, dict):
            continue
        is_secret = str(entry.get("type", "")).lower() == "secret"
        if is_secret and entry.get("default") not in (None, ""):
            message = f"the secret {key} has a default, which everybody can read; remove it"
            line = line_of(text, f"env.{key}", "default")
            yield Finding("secret-in-manifest", "error", message, MANIFEST, line)
    for number, line_text in enumerate(text.splitlines(), start=1):
        if _SECRET_VALUE.search(line_text):
            message = 'this looks like a key or token; declare [env.NAME] type = "secret" instead'
            yield Finding("secret-in-manifest", "error", message, MANIFEST, number)


def _manifest_text(project: Project) -> str:
    path = project.root / MANIFEST
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _of_kind(facts: SourceFacts, kind: str) -> list[Declared]:
    return [item for item in facts.declared if item.kind == kind]


def _entries(manifest: dict[str, Any], table: str) -> dict[str, Any]:
    found = manifest.get(table, {})
    return found if isinstance(found, dict) else {}


def _grants(manifest: dict[str, Any], table: str, legacy: str) -> list[str]:
    """The access list: keys of the table, or the old-style list when there is no table."""
    if entries := _entries(manifest, table):
        return list(entries)
    listed = _entries(manifest, "capabilities").get(legacy, [])
    return [str(item) for item in listed] if isinstance(listed, list) else []


def _granted(topic: str, patterns: Any) -> bool:
    return any(matches_entry(topic, pattern) for pattern in patterns)
