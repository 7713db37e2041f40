"""The tools of a capsule's servers as they were accepted, and what happens when they change.

Trusted with one rule: what a model reads about a tool is what was accepted, or nothing. The first
definition of a tool is accepted as it comes, unless it takes the name of another one or hides
characters; every later difference waits for somebody's yes.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from astrid_engine_mcp.bounds import DEFINITION_BYTES, NAME_CHARACTERS, PIN_BYTES, PINS
from astrid_engine_mcp.difference import Differences
from astrid_engine_mcp.names import hidden_characters, plain_name
from astrid_hookspecs.errors import ToolError, ToolNotFoundError
from astrid_hookspecs.tool_servers import OfferedTool, ToolPin

_VERSION: Final = 1
HOOK_TOOL: Final = "astrid_hook_intercept"
"""The tool that answers interceptor calls; never offered. Spec: capsules-and-bus 5.2."""


@dataclass(slots=True)
class Entry:
    """One tool of one server.

    Attributes:
        accepted: The definition that was accepted, None before.
        proposed: What the server says now, where that waits.
        reasons: Why it waits.
        qualified: Whether it is offered under the server's name, because the plain one is taken.
        is_present: Whether the server had it when it was asked last.
        size_bytes: Of both definitions, as JSON.
    """

    accepted: dict[str, Any] | None = None
    proposed: dict[str, Any] | None = None
    reasons: tuple[str, ...] = ()
    qualified: bool = False
    is_present: bool = True
    size_bytes: int = 0

    def weigh(self) -> None:
        """Set the size anew."""
        both = (self.accepted, self.proposed)
        self.size_bytes = sum(len(_canonical(one)) for one in both if one is not None)


@dataclass(frozen=True, slots=True)
class Judged:
    """What one listing comes to.

    Attributes:
        usable: The server's own name of each tool that may be called, by its name on the bus.
        news: Lines for the log, about what was blocked.
    """

    usable: Mapping[str, str]
    news: tuple[str, ...] = ()


@dataclass(slots=True)
class PinBook:
    """The record of one capsule, in a file that is replaced whole. Safe from any thread.

    Attributes:
        capsule: Whose.
        path: Of the file; None keeps it in memory only.
    """

    capsule: str
    path: Path | None = None
    _servers: dict[str, dict[str, Entry]] = field(default_factory=dict)
    _extras: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _saved: str = field(default="", repr=False)

    @classmethod
    def open(cls, capsule: str, *, path: Path | None) -> PinBook:
        """Read the record.

        Raises:
            ToolError: `tool.pins`: it is damaged; nothing is offered on a guess.
        """
        book = cls(capsule, path)
        if path is not None and path.exists():
            try:
                book._load(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise ToolError(
                    f"the record of accepted tools of {capsule!r} cannot be read",
                    code="tool.pins",
                    hint=f"remove {path.name} to accept what its servers say now",
                ) from error
        return book

    def knows(self, server: str) -> bool:
        """Whether the server was ever asked for its tools."""
        return server in self._servers

    def note_extras(self, server: str, *, resources: bool, prompts: bool) -> None:
        """Remember what a server has besides tools; written with the next listing."""
        with self._lock:
            self._extras[server] = (resources, prompts)

    def extras(self) -> dict[str, tuple[bool, bool]]:
        """Whether each server has resources, and whether it has prompts."""
        with self._lock:
            return dict(self._extras)

    def judge(
        self, server: str, definitions: Iterable[Mapping[str, Any]], *, taken: Callable[[str], bool]
    ) -> Judged:
        """Compare a listing with the record, and accept what is new and harmless.

        Args:
            server: Who was asked.
            definitions: As on the wire.
            taken: Whether a name on the bus belongs to somebody else.
        """
        news: list[str] = []
        usable: dict[str, str] = {}
        with self._lock:
            entries = self._servers.setdefault(server, {})
            for entry in entries.values():
                entry.is_present = False
            owners = self._owners()
            every = [entry for known in self._servers.values() for entry in known.values()]
            used, count = sum(entry.size_bytes for entry in every), len(every)
            for definition in definitions:
                name = str(definition["name"])
                if name == HOOK_TOOL or not plain_name(name):
                    continue
                if len(name) > NAME_CHARACTERS or (name not in entries and count >= PINS):
                    news.append(f"tool {name[:NAME_CHARACTERS]!a} is left out: there is no room")
                    continue
                count += name not in entries
                entry = entries.setdefault(name, Entry())
                entry.is_present = True
                used -= entry.size_bytes
                room = min(DEFINITION_BYTES, PIN_BYTES - used)
                plain = plain_name(name)
                others = owners.get(plain, set()) - {(server, name)}
                shadows = plain if others or taken(plain) else ""
                self._update(entry, dict(definition), shadows=shadows, room_bytes=room)
                used += entry.size_bytes
                if entry.accepted is not None:
                    owners.setdefault(plain, set()).add((server, name))
                if entry.proposed is None and entry.accepted is not None:
                    usable[_offered_as(server, name, entry)] = name
                elif entry.reasons:
                    news.append(f"tool {name!a} is blocked: {', '.join(entry.reasons)}")
            self._save()
        return Judged(usable, tuple(news))

    def offers(self) -> list[OfferedTool]:
        """What may be offered now, by the record alone."""
        with self._lock:
            return [
                _offer(server, name, entry, entry.accepted)
                for server, entries in self._servers.items()
                for name, entry in entries.items()
                if entry.is_present and entry.proposed is None and entry.accepted is not None
            ]

    def pins(self) -> tuple[ToolPin, ...]:
        """Every tool on record, by server and name."""
        with self._lock:
            found = [
                (server, name, replace(entry))
                for server, entries in sorted(self._servers.items())
                for name, entry in sorted(entries.items())
            ]
        differences = Differences()
        return tuple(self._pin(*one, differences) for one in found)

    def approve(self, server: str, tool: str, *, proposed: str) -> ToolPin:
        """As `PinnedTools.approve`."""
        with self._lock:
            name = next(
                (name for name in self._servers.get(server, {}) if ascii(name)[1:-1] == tool), None
            )
            entry = None if name is None else self._servers[server][name]
            if name is None or entry is None or entry.proposed is None:
                raise ToolNotFoundError(
                    f"no tool {tool!r} of server {server!r} waits for approval",
                    hint="`astrid mcp pins` shows what does",
                )
            if digest(entry.proposed) != proposed:
                raise ToolError(
                    f"the server has changed {tool!r} again",
                    code="tool.pin-changed",
                    hint="look at the new difference first: astrid mcp pins",
                )
            entry.qualified = entry.qualified or any(
                reason.startswith("shadows ") for reason in entry.reasons
            )
            entry.accepted, entry.proposed, entry.reasons = entry.proposed, None, ()
            entry.weigh()
            self._save()
            return self._pin(server, name, entry, Differences())

    def _update(
        self, entry: Entry, definition: dict[str, Any], *, shadows: str, room_bytes: int
    ) -> None:
        reasons = []
        is_known = entry.accepted is not None and digest(entry.accepted) == digest(definition)
        if not is_known and len(_canonical(definition)) > room_bytes:
            definition = {"name": definition["name"], "description": "(too large to be shown)"}
            reasons.append("too large")
        is_same = entry.accepted is not None and digest(entry.accepted) == digest(definition)
        if entry.accepted is not None and not is_same:
            reasons.append("changed")
        if not is_same and (hidden := hidden_characters(definition)):
            reasons.append(f"hidden characters {' '.join(hidden[:8])}")
        if shadows and not entry.qualified:
            reasons.append(f"shadows {shadows}")
        if not is_same and entry.accepted is None:
            # Who waited once goes on waiting: the other owner of a name may only be late.
            reasons += [reason for reason in entry.reasons if reason.startswith("shadows ")]
        entry.reasons = tuple(dict.fromkeys(reasons))
        if not reasons:
            entry.accepted, entry.proposed = definition, None
        else:
            entry.proposed = definition
        entry.weigh()

    def _owners(self) -> dict[str, set[tuple[str, str]]]:
        """The accepted tools, as server and name, by the name that each would have on the bus."""
        owners: dict[str, set[tuple[str, str]]] = {}
        for server, entries in self._servers.items():
            for name, entry in entries.items():
                if entry.accepted is not None:
                    owners.setdefault(plain_name(name), set()).add((server, name))
        return owners

    def _pin(self, server: str, name: str, entry: Entry, differences: Differences) -> ToolPin:
        is_open = entry.proposed is None and entry.accepted is not None
        return ToolPin(
            capsule=self.capsule,
            server=server,
            tool=ascii(name)[1:-1],
            offered_as=_offered_as(server, name, entry) if is_open and entry.is_present else "",
            accepted="" if entry.accepted is None else digest(entry.accepted),
            proposed="" if entry.proposed is None else digest(entry.proposed),
            reasons=entry.reasons,
            diff="" if entry.proposed is None else differences.of(entry.accepted, entry.proposed),
        )

    def _load(self, data: dict[str, Any]) -> None:
        if data["version"] != _VERSION:
            raise ValueError("unknown version")
        self._extras = {
            server: (bool(has[0]), bool(has[1])) for server, has in data["extras"].items()
        }
        self._servers = {
            server: {
                name: Entry(
                    accepted=entry["accepted"],
                    proposed=entry["proposed"],
                    reasons=tuple(entry["reasons"]),
                    qualified=entry["qualified"],
                    is_present=entry["present"],
                )
                for name, entry in entries.items()
            }
            for server, entries in data["servers"].items()
        }
        for entries in self._servers.values():
            for entry in entries.values():
                entry.weigh()

    def _save(self) -> None:
        if self.path is None:
            return
        servers = {
            server: {
                name: {
                    "accepted": entry.accepted,
                    "proposed": entry.proposed,
                    "reasons": list(entry.reasons),
                    "qualified": entry.qualified,
                    "present": entry.is_present,
                }
                for name, entry in entries.items()
            }
            for server, entries in self._servers.items()
        }
        record = {"version": _VERSION, "servers": servers, "extras": self._extras}
        # Indented it is larger by the depth of what the servers nest, which no bound counts.
        text = json.dumps(record, separators=(",", ":"))
        if text == self._saved:
            return
        draft = self.path.with_suffix(".new")
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, self.path)  # noqa: PTH105 - atomic, and named so
        self._saved = text


def digest(definition: Mapping[str, Any]) -> str:
    """64 hex digits, BLAKE3 of a definition, whatever the order of its keys."""
    return blake3(_canonical(definition)).hexdigest()


def _canonical(definition: Mapping[str, Any]) -> bytes:
    return json.dumps(definition, sort_keys=True, separators=(",", ":")).encode()


def _offered_as(server: str, name: str, entry: Entry) -> str:
    plain = plain_name(name)
    return f"{server}:{plain}" if entry.qualified else plain


def _offer(server: str, name: str, entry: Entry, definition: Mapping[str, Any]) -> OfferedTool:
    return OfferedTool(
        name=_offered_as(server, name, entry),
        server=server,
        tool=plain_name(name),
        description=str(definition.get("description", "")),
        input_schema=definition.get("inputSchema") or {},
        output_schema=definition.get("outputSchema"),
        annotations=definition.get("annotations") or {},
    )
