"""Which actions an allowance covers, one record for each kind of pattern.

Trusted with never covering more than was agreed to: what a pattern does not know, it does not
match. Spec: kernel-and-security 7.3, vectors 111 to 113.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from astrid_core.domain.action import (
    Action,
    CapsuleExecution,
    CapsuleFileAccess,
    CapsuleHttpRequest,
    CapsuleRequest,
    ExecuteCommand,
    FileDelete,
    FileRead,
    FileWrite,
    McpToolCall,
    NetworkRequest,
)
from astrid_core.domain.resource_pattern import ResourcePattern

FilePermission: TypeAlias = Literal["read", "write", "delete"]
SHELL_MARKS: Final = frozenset(";|&$`<>(){}\n\r\0\\")
"""What gives a command line a second meaning; no pattern covers a text that has one [D-44]."""

_ANY_ARGUMENTS: Final = " *"
_FILE_ACTIONS: Final = (("read", FileRead), ("write", FileWrite), ("delete", FileDelete))


class _Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of the patterns.

    Each has `covers(action, *, root)`: whether it covers what somebody wants to do, where `root` is
    the absolute path of the workspace, or None.
    """

    def globs(self) -> tuple[str, ...]:
        """Its texts that have to be resource patterns."""
        return ()


class ExactTool(_Pattern, frozen=True, tag="exact_tool"):
    """One tool of an MCP server."""

    server: str
    tool: str

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says."""
        del root
        return action == McpToolCall(self.server, self.tool)


class ServerTools(_Pattern, frozen=True, tag="server_tools"):
    """Every tool of an MCP server."""

    server: str

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says."""
        del root
        return isinstance(action, McpToolCall) and action.server == self.server


class FileGlob(_Pattern, frozen=True, tag="file_pattern"):
    """Paths, for one kind of access."""

    pattern: str
    permission: FilePermission

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says."""
        del root
        path = _path_of(action, self.permission)
        return path is not None and ResourcePattern(self.pattern).matches(path)

    def globs(self) -> tuple[str, ...]:
        """As the base class says."""
        return (self.pattern,)


class WorkspaceRelative(_Pattern, frozen=True, tag="workspace_relative"):
    """Paths below the workspace; also tools and commands, as long as there is a workspace."""

    pattern: str
    permission: Literal["read", "write", "delete", "invoke", "execute"]

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says."""
        glob = ResourcePattern(self.pattern)
        if self.permission == "invoke" and isinstance(action, McpToolCall):
            return root is not None and glob.matches(f"{action.server}/{action.tool}")
        if self.permission == "execute" and isinstance(action, ExecuteCommand):
            return root is not None and _covers_command(glob, action.text)
        path = _path_of(action, self.permission)
        return path is not None and _is_below(path, root) and glob.matches(path)

    def globs(self) -> tuple[str, ...]:
        """As the base class says."""
        return (self.pattern,)


class NetworkHost(_Pattern, frozen=True, tag="network_host"):
    """A host, at some ports or at any."""

    host: str
    ports: tuple[int, ...] | None = None

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says."""
        del root
        if not isinstance(action, NetworkRequest) or action.host.lower() != self.host.lower():
            return False
        return self.ports is None or action.port in self.ports


class CommandGlob(_Pattern, frozen=True, tag="command_pattern"):
    """Command lines; `cmd *` covers `cmd` alone as well."""

    command: str

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says. What a capsule asks about is a command line as well."""
        del root
        if isinstance(action, CapsuleRequest):
            return _covers_command(ResourcePattern(self.command), action.resource)
        if isinstance(action, ExecuteCommand):
            return _covers_command(ResourcePattern(self.command), action.text)
        return False

    def globs(self) -> tuple[str, ...]:
        """As the base class says."""
        return (self.command,)


class CapsuleCapability(_Pattern, frozen=True, tag="capsule_capability"):
    """One capability of a capsule; `http_request` and `file_<mode>` are names for these actions."""

    capsule_id: str
    capability: str

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says."""
        del root
        match action:
            case CapsuleExecution(capsule_id=capsule, capability=capability):
                wanted = capability
            case CapsuleHttpRequest(capsule_id=capsule):
                wanted = "http_request"
            case CapsuleFileAccess(capsule_id=capsule, mode="read" | "write" | "delete" as mode):
                wanted = f"file_{mode}"
            case _:
                return False
        return (capsule, wanted) == (self.capsule_id, self.capability)


class CapsuleWildcard(_Pattern, frozen=True, tag="capsule_wildcard"):
    """What a capsule executes, its HTTP requests and its files; never that it listens."""

    capsule_id: str

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says."""
        del root
        known = CapsuleExecution | CapsuleHttpRequest | CapsuleFileAccess
        return isinstance(action, known) and action.capsule_id == self.capsule_id


class ExactRequest(_Pattern, frozen=True, tag="exact_request"):
    """What a person was shown and agreed to, word for word. Ours [D-46]."""

    capsule_id: str
    action: str
    resource: str

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says."""
        del root
        return action == CapsuleRequest(self.capsule_id, self.action, self.resource)


class CapsuleCommand(_Pattern, frozen=True, tag="capsule_command"):
    """What one capsule asks about under one name, as a glob over the resource. Ours [H-34]."""

    capsule_id: str
    action: str
    command: str

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says; `cmd *` covers `cmd` alone as well."""
        del root
        if not isinstance(action, CapsuleRequest):
            return False
        if (action.capsule_id, action.action) != (self.capsule_id, self.action):
            return False
        return _covers_command(ResourcePattern(self.command), action.resource)

    def globs(self) -> tuple[str, ...]:
        """As the base class says."""
        return (self.command,)


class Custom(_Pattern, frozen=True, tag="custom"):
    """Covers nothing; kept because records may have it."""

    pattern: str

    def covers(self, action: Action, *, root: str | None) -> bool:
        """As the base class says."""
        del action, root
        return False


ActionPattern: TypeAlias = (
    ExactTool
    | ServerTools
    | FileGlob
    | WorkspaceRelative
    | NetworkHost
    | CommandGlob
    | CapsuleCapability
    | CapsuleWildcard
    | ExactRequest
    | CapsuleCommand
    | Custom
)


def _covers_command(glob: ResourcePattern, text: str) -> bool:
    if not SHELL_MARKS.isdisjoint(text):
        return False
    if glob.text.endswith(_ANY_ARGUMENTS) and glob.matches(f"{text} "):
        return True  # "cmd *" against "cmd", and against "cmd x" the same
    return glob.matches(text)


def _path_of(action: Action, permission: str) -> str | None:
    for name, kind in _FILE_ACTIONS:
        if permission == name and isinstance(action, kind):
            return action.path
    return None


def _is_below(path: str, root: str | None) -> bool:
    if root is None:
        return True
    base = root.rstrip("/")
    return path == base or path.startswith(f"{base}/")
