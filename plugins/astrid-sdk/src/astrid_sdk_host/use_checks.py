"""Find uses of networks, programs and settings that the manifest does not know. Runs nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from astrid_hookspecs.builders import Finding
from astrid_sdk_host.sources import OtherCall, SourceFacts


class _Need(NamedTuple):
    """The list that is asked, what the code does, and an entry as an example."""

    listed: str
    does: str
    example: str


_CONNECT: Final = _Need("net_connect", "connects or looks names up", "db.example.org:5432")
_NEEDS: Final = {
    **dict.fromkeys(
        ("http.get", "http.request"),
        _Need("net", "sends requests", "api.example.org"),
    ),
    **dict.fromkeys(("net.connect", "net.lookup"), _CONNECT),
    "net.listen": _Need("net_tcp_bind", "listens", "127.0.0.1:8080"),
    "net.udp": _Need("net_udp", "opens datagram sockets", "bind:127.0.0.1:*"),
    "net.listen_local": _Need("net_bind", "listens on its local socket", "*"),
    **dict.fromkeys(
        ("process.run", "process.start", "process.keep"),
        _Need("host_process", "starts programs", "git status"),
    ),
}
_SETTINGS: Final = frozenset({"sys.config", "sys.config_json"})
_DECISIONS: Final = frozenset({"Continue", "Deny", "Final"})
_SECRETS: Final = frozenset({"api_key", "api-key", "credential", "key", "password", "token"})
_ASKED: Final = "elicit.secret"


def check_uses(manifest: dict[str, Any], facts: SourceFacts) -> Iterator[Finding]:
    """Findings about what the code uses and the manifest does not have at all, each once."""
    told: set[str] = set()
    for call in facts.other_calls:
        need = _NEEDS.get(call.name)
        if need is None or need.listed in told or _table(manifest, "capabilities").get(need.listed):
            continue
        told.add(need.listed)
        message = (
            f"the code {need.does}, which will be refused: "
            f'add {need.listed} = ["{need.example}"], or what it needs, below [capabilities]'
        )
        yield Finding(f"missing-{need.listed}", "warning", message, call.file, call.line)
    yield from _check_settings(_table(manifest, "env"), facts.other_calls)
    yield from _check_decisions(facts)


def odd_types(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys of `[env]` whose type is taken for text and looks like a secret; what to say of each."""
    for key, entry in _table(manifest, "env").items():
        kind = str(entry.get("type", "text")).lower() if isinstance(entry, dict) else "text"
        is_near = bool(difflib.get_close_matches(kind, ["secret"])) or kind in _SECRETS
        if is_near and kind != "secret":
            yield key, f'{key} has the type {kind!r}, which is text that people see: use "secret"'


def _check_settings(declared: dict[str, Any], calls: list[OtherCall]) -> Iterator[Finding]:
    asked = {call.text for call in calls if call.name == _ASKED}
    if None in asked:  # which secrets an installation asks for is known when it runs
        return
    known = {*declared, *asked}
    for call in calls:
        if call.name not in _SETTINGS or call.has_default or call.text is None:
            continue
        if call.text in known:
            continue
        known.add(call.text)
        message = (
            f"nothing ever sets {call.text!r}: declare [env.{call.text}], "
            "or give a default where it is read"
        )
        yield Finding("missing-env", "warning", message, call.file, call.line)


def _check_decisions(facts: SourceFacts) -> Iterator[Finding]:
    if not any(item.kind == "run" for item in facts.declared) or not _DECISIONS & facts.modules:
        return
    for item in facts.declared:
        if item.kind == "interceptor":
            message = (
                f"{item.function!r} only watches: interceptors of a capsule with a run loop can "
                "not change or deny anything; move one of the two into a capsule of its own"
            )
            yield Finding("watching-interceptor", "warning", message, item.file, item.line)


def _table(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    found = manifest.get(name, {})
    return found if isinstance(found, dict) else {}
