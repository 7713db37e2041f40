"""Run a capsule's handlers against the fake host: what a capsule's own tests use."""

from __future__ import annotations

import contextlib
import json
import logging
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from astrid_sdk import bindings, dispatch, logs
from astrid_sdk.declarations import (
    COMMAND_ACTION,
    COMMAND_TOPIC,
    DESCRIBE_ACTION,
    EXECUTE_PREFIX,
    Capsule,
    capsule_of,
)
from astrid_sdk.dispatch import HookResult, ToolResult
from astrid_sdk.errors import AstridSdkError
from astrid_sdk.loop import RunLoop
from astrid_sdk.routes import execute_topic, result_topic, routes_of
from astrid_sdk.testing.bus import NIL_UUID, Item, PrincipalAttribution_Verified, Published
from astrid_sdk.testing.fake import FakeHost, LogLine
from astrid_sdk.testing.tree import FileTree
from astrid_sdk.topics import matches_entry

_SOCKETS = ("net_connect", "net_tcp_bind", "net_udp", "net_bind")


class CapsuleHarness:
    """A capsule and its fake host.

    Grants what the build would grant: routes and answers of what the code declares, and what the
    author's `Capsule.toml` says. The manifest is looked for beside the module and above it.

    Args:
        module: The imported capsule.
        principal: Who acts.
        config: Settings and secrets, over the defaults of the manifest.
        manifest: Another `Capsule.toml`, or its tables.
    """

    def __init__(
        self,
        module: ModuleType,
        *,
        principal: str = "default",
        config: Mapping[str, object] | None = None,
        manifest: Path | Mapping[str, object] | None = None,
    ) -> None:
        self._capsule = capsule_of(module.__name__)
        self._capsule.description = dispatch.describe_module(module)
        tables = _tables(module, manifest)
        routes = routes_of(self._capsule)
        settings = {**_defaults(tables), **(config or {})}
        self.host = FakeHost(
            principal=principal,
            publish=[*routes.publish, *_grants(tables, "publish", "ipc_publish")],
            subscribe=[route.topic for route in routes.subscribe]
            + _grants(tables, "subscribe", "ipc_subscribe"),
            config={key: _setting(value) for key, value in settings.items()},
            capabilities=_capabilities(tables),
            fs_read=_listed(tables, "fs_read"),
            fs_write=_listed(tables, "fs_write"),
            sockets={name: _listed(tables, name) for name in _SOCKETS},
            host_process=_listed(tables, "host_process"),
        )
        if "run" in self._capsule.hooks:
            self.host.bindings = [(route.topic, route.action) for route in routes.subscribe]

    @property
    def declared(self) -> Capsule:
        """What the capsule declares, for tests that look closer."""
        return self._capsule

    @property
    def published(self) -> list[Published]:
        """What the capsule published, except the answers of its tools."""
        answers = {result_topic(name) for name in self._capsule.tools}
        return [message for message in self.host.published if message.topic not in answers]

    @property
    def kv(self) -> dict[str, bytes]:
        """The capsule's store, of the current principal."""
        return self.host.kv

    @property
    def files(self) -> FileTree:
        """The files it sees, by path: `harness.files["notes/a.txt"] = b"..."`."""
        return self.host.files

    @property
    def logs(self) -> list[LogLine]:
        """What it logged."""
        return self.host.logs

    @contextlib.contextmanager
    def active(self, *, caller: Item | None = None) -> Iterator[FakeHost]:
        """Let host functions answer, for code that is called directly."""
        before, live = bindings.bind(self.host), bindings.set_live(True)
        root = logging.getLogger()
        level, handler = root.level, logs.install()
        self.host.caller = caller
        try:
            yield self.host
        finally:
            self.host.caller = None
            root.removeHandler(handler)
            root.setLevel(level)
            bindings.set_live(live)
            bindings.bind(before)

    def trigger(self, action: str, payload: object = None, *, topic: str = "test") -> HookResult:
        """Call the capsule's hook as the host does; `payload` is turned into JSON."""
        text = "" if payload is None else json.dumps(payload)
        attribution = PrincipalAttribution_Verified(self.host.principal)
        with self.active(caller=Item(topic, text, NIL_UUID, attribution)):
            return dispatch.trigger(self._capsule, action, text.encode())

    def call_tool(self, name: str, arguments: Mapping[str, object] | None = None) -> ToolResult:
        """Call a tool through its whole path, answer on the bus included.

        Raises:
            AstridSdkError: The tool did not answer; says why.
        """
        request = {
            "type": "tool_execute_request",
            "call_id": "call-1",
            "tool_name": name,
            "arguments": dict(arguments or {}),
        }
        seen = len(self.host.published)
        answer = self.trigger(EXECUTE_PREFIX + name, request, topic=execute_topic(name))
        for message in self.host.published[seen:]:
            if message.topic == result_topic(name):
                result = message.payload["result"]
                return ToolResult(result["content"], result["is_error"])
        raise AstridSdkError(answer.data or f"tool {name} did not answer")

    def tools(self) -> list[dict[str, Any]]:
        """Descriptors of the tools, as a caller sees them."""
        described = self.trigger(DESCRIBE_ACTION)
        listed: list[dict[str, Any]] = json.loads(described.data or "{}")["tools"]
        return listed

    def fire(self, topic: str, payload: object = None) -> list[HookResult]:
        """Publish an event and call every interceptor that matches; their answers by priority.

        As in the kernel, an answer with data replaces the payload for the next one, and a final
        answer or a denial ends the chain.
        """
        found = [
            item for item in self._capsule.interceptors.values() if matches_entry(topic, item.topic)
        ]
        answers: list[HookResult] = []
        for item in sorted(found, key=lambda item: item.priority):
            answer = self.trigger(item.action, payload, topic=topic)
            answers.append(answer)
            if answer.action != "continue":
                break
            if answer.data:
                payload = json.loads(answer.data)
        return answers

    def command(self, line: str) -> HookResult:
        """Type a command line, for example `/notes milk`."""
        payload = {"type": "user_input", "text": line, "session_id": "default"}
        return self.trigger(COMMAND_ACTION, payload, topic=COMMAND_TOPIC)

    def send(self, topic: str, payload: object, *, after_s: float = 0.0) -> None:
        """Put a message on the bus for a run loop or a subscription, now or later."""
        self.host.deliver(topic, payload, delay_s=after_s)

    def run(self, *, seconds: float = 1.0) -> None:
        """Run the loop until the host stops it after so many seconds of the fake clock.

        Raises:
            AstridSdkError: The capsule has no `@run`.
        """
        function = self._hook("run")
        self.host.stop_at_ns = self.host.now_ns + round(seconds * 1e9)
        try:
            with self.active():
                loop = RunLoop(self._capsule)
                try:
                    function(loop)
                finally:
                    loop.close()
        finally:
            self.host.stop_at_ns = None

    def install(self) -> None:
        """Call the `@install` hook.

        Raises:
            AstridSdkError: There is none.
        """
        self._run_hook("astrid-install")

    def upgrade(self) -> None:
        """Call the `@upgrade` hook.

        Raises:
            AstridSdkError: There is none.
        """
        self._run_hook("astrid-upgrade")

    def _run_hook(self, name: str) -> None:
        function = self._hook(name)
        self.host.people.is_installing = True
        try:
            with self.active():
                function()
        finally:
            self.host.people.is_installing = False

    def _hook(self, name: str) -> Any:
        if name not in self._capsule.hooks:
            raise AstridSdkError(f"the capsule has no {name} hook")
        return self._capsule.hooks[name]


def _tables(module: ModuleType, manifest: Path | Mapping[str, object] | None) -> dict[str, object]:
    if isinstance(manifest, Mapping):
        return dict(manifest)
    path = manifest or _find_manifest(module)
    if path is None:
        return {}
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _find_manifest(module: ModuleType) -> Path | None:
    if module.__file__ is None:
        return None
    for parent in Path(module.__file__).resolve().parents[:4]:
        if (parent / "Capsule.toml").is_file():
            return parent / "Capsule.toml"
    return None


def _grants(tables: Mapping[str, object], table: str, legacy: str) -> list[str]:
    """Access list of a manifest: keys of the table, or the old-style list without one."""
    entries = tables.get(table)
    if isinstance(entries, Mapping) and entries:
        return list(entries)
    return _listed(tables, legacy)


def _listed(tables: Mapping[str, object], name: str) -> list[str]:
    """A list of `[capabilities]`."""
    capabilities = tables.get("capabilities")
    listed = capabilities.get(name, []) if isinstance(capabilities, Mapping) else []
    return [str(item) for item in listed] if isinstance(listed, list) else []


def _defaults(tables: Mapping[str, object]) -> dict[str, object]:
    entries = tables.get("env")
    if not isinstance(entries, Mapping):
        return {}
    return {
        key: entry["default"]
        for key, entry in entries.items()
        if isinstance(entry, Mapping) and "default" in entry
    }


def _capabilities(tables: Mapping[str, object]) -> set[str]:
    entries = tables.get("capabilities")
    return (
        {key for key, value in entries.items() if value} if isinstance(entries, Mapping) else set()
    )


def _setting(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
