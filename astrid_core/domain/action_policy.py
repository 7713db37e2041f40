"""A policy about actions: allowed, to be asked about, or blocked.

The operator's, from `[policy]` of the configuration; it takes away and never adds. Trusted with
reading a command as the words it consists of: names of programs and leading arguments are
compared, never the beginning of a text [D-47]. Spec: kernel-and-security 7.5, vectors 119 to 122.
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from astrid_core.domain.action import (
    Action,
    CapsuleExecution,
    CapsuleFileAccess,
    CapsuleHttpRequest,
    CapsuleNetBind,
    CapsuleRequest,
    ExecuteCommand,
    FileDelete,
    FileRead,
    FileWrite,
    McpToolCall,
    NetworkRequest,
    TransmitData,
)
from astrid_core.domain.resource_pattern import ResourcePattern, has_parent

MAX_ARGUMENT_BYTES: Final = 1024 * 1024
BLOCKED_COMMANDS: Final = (
    "rm -rf /",
    "rm -rf /*",
    "sudo",
    "su",
    "mkfs",
    "dd",
    "chmod 777",
    "shutdown",
    "reboot",
    "init",
)
DENIED_PATHS: Final = ("/etc/**", "/boot/**", "/sys/**", "/proc/**", "/dev/**")


class PolicyVerdict(enum.Enum):
    """What a policy says about an action."""

    ALLOWED = "allowed"
    APPROVAL = "approval"
    BLOCKED = "blocked"


class PolicyDecision(NamedTuple):
    """A verdict, and the setting that led to it with the entry that matched."""

    verdict: PolicyVerdict
    rule: str


@dataclass(frozen=True, slots=True)
class ActionPolicy:
    """Lists and switches of a policy.

    Attributes:
        blocked_tools: Command lines, of which the program and leading arguments are compared, and
            MCP tools: `server`, `tool` or `server:tool`.
        approval_required_tools: MCP tools, likewise.
        denied_paths: Patterns of paths.
        allowed_paths: Unless empty, the only paths.
        denied_hosts: Host names, in any case.
        allowed_hosts: Unless empty, the only hosts.
        blocked_capsules: Capsule ids.
        max_argument_bytes: Of the arguments of a command together; 0 for any number.
        approve_network: Whether connections and transmissions have to be asked about.
        approve_delete: Whether the reason for asking about a deletion is that it deletes.

    Raises:
        PatternError: One of the paths is no pattern.
    """

    blocked_tools: tuple[str, ...] = BLOCKED_COMMANDS
    approval_required_tools: tuple[str, ...] = ("builtin:task",)
    denied_paths: tuple[str, ...] = DENIED_PATHS
    allowed_paths: tuple[str, ...] = ()
    denied_hosts: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    blocked_capsules: tuple[str, ...] = ()
    max_argument_bytes: int = MAX_ARGUMENT_BYTES
    approve_network: bool = True
    approve_delete: bool = True

    def __post_init__(self) -> None:
        for text in (*self.denied_paths, *self.allowed_paths):
            ResourcePattern(text)

    def decide(self, action: Action) -> PolicyDecision:
        """What the policy says; what it has no rule for has to be asked about."""
        match action:
            case ExecuteCommand():
                return self._command(action)
            case McpToolCall(server=server, tool=tool):
                return self._tool(server, tool)
            case FileRead(path=path) | FileWrite(path=path) | FileDelete(path=path):
                deletes = self.approve_delete and isinstance(action, FileDelete)
                return self._path(path) or _ask("approve_delete" if deletes else "file")
            case NetworkRequest(host=host) | TransmitData(destination=host):
                return self._host(host)
            case (
                CapsuleExecution(capsule_id=capsule)
                | CapsuleHttpRequest(capsule_id=capsule)
                | CapsuleFileAccess(capsule_id=capsule)
                | CapsuleNetBind(capsule_id=capsule)
                | CapsuleRequest(capsule_id=capsule)
            ):
                return self._capsule(capsule, action)
            case _:
                return _ask("always")

    def _command(self, action: ExecuteCommand) -> PolicyDecision:
        words = _words(action)
        if words is None:
            return _block("command-syntax", action.command)
        for entry in self.blocked_tools:
            if entry == action.command or _starts_with(words, shlex.split(entry)):
                return _block("blocked_tools", entry)
        size = sum(len(word.encode("utf-8", "surrogatepass")) for word in words[1:])
        if 0 < self.max_argument_bytes < size:
            return _block("max_argument_bytes", str(size))
        return _ask("command")

    def _tool(self, server: str, tool: str) -> PolicyDecision:
        qualified = f"{server}:{tool}"
        for name in (qualified, server, tool):
            if name in self.blocked_tools:
                return _block("blocked_tools", name)
        for name in (qualified, server):
            if name in self.approval_required_tools:
                return _ask(f"approval_required_tools:{name}")
        return PolicyDecision(PolicyVerdict.ALLOWED, "tool")

    def _path(self, path: str) -> PolicyDecision | None:
        if has_parent(path):
            return _block("path", "..")
        denied = _first_match(self.denied_paths, path)
        if denied is not None:
            return _block("denied_paths", denied)
        if self.allowed_paths and _first_match(self.allowed_paths, path) is None:
            return _block("allowed_paths", path)
        return None

    def _host(self, host: str) -> PolicyDecision:
        if _has_host(self.denied_hosts, host):
            return _block("denied_hosts", host)
        if self.allowed_hosts and not _has_host(self.allowed_hosts, host):
            return _block("allowed_hosts", host)
        if self.approve_network:
            return _ask("approve_network")
        return PolicyDecision(PolicyVerdict.ALLOWED, "network")

    def _capsule(self, capsule: str, action: Action) -> PolicyDecision:
        if capsule in self.blocked_capsules:
            return _block("blocked_capsules", capsule)
        if isinstance(action, CapsuleHttpRequest):
            host = _host_of(action.url)
            if host is None:
                return _block("url", action.url)
            if _has_host(self.denied_hosts, host):
                return _block("denied_hosts", host)
        if isinstance(action, CapsuleFileAccess):
            denied = _first_match(self.denied_paths, action.path)
            if has_parent(action.path) or denied is not None:
                return _block("denied_paths", denied or "..")
        return _ask("capsule")


def _ask(rule: str) -> PolicyDecision:
    return PolicyDecision(PolicyVerdict.APPROVAL, rule)


def _block(setting: str, entry: str) -> PolicyDecision:
    return PolicyDecision(PolicyVerdict.BLOCKED, f"{setting}:{entry[:80]}")


def _words(action: ExecuteCommand) -> list[str] | None:
    """Program, without its directory, and arguments; None for what no shell could read."""
    if action.args:
        words = [action.command, *action.args]
    else:
        try:
            words = shlex.split(action.command)
        except ValueError:
            return None
    return [words[0].rpartition("/")[2], *words[1:]] if words else None


def _starts_with(words: list[str], entry: list[str]) -> bool:
    if not entry or len(words) < len(entry):
        return False
    return all(_same(word, wanted) for word, wanted in zip(words, entry, strict=False))


def _same(word: str, wanted: str) -> bool:
    """Equal, or below what an argument such as `/*` stands for."""
    if wanted.endswith("/*"):
        return word.startswith(wanted[:-1])
    return word == wanted


def _first_match(patterns: Iterable[str], path: str) -> str | None:
    return next((text for text in patterns if ResourcePattern(text).matches(path)), None)


def _has_host(hosts: Iterable[str], host: str) -> bool:
    return any(one.lower().rstrip(".") == host.lower().rstrip(".") for one in hosts)


def _host_of(url: str) -> str | None:
    """The host as URLs are read everywhere [D-48]."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
