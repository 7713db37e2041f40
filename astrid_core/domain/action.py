"""What somebody wants to do, in the types that allowances and action policies speak about.

Pure records. They come from the kernel and from records it stored; unknown types and fields are
refused. Spec: kernel-and-security 7.5.
"""

from __future__ import annotations

import shlex
from typing import TypeAlias

import msgspec


class _Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of the actions."""


class FileRead(_Action, frozen=True, tag="file_read"):
    """Read a file."""

    path: str


class FileDelete(_Action, frozen=True, tag="file_delete"):
    """Delete a file."""

    path: str


class FileWrite(_Action, frozen=True, tag="file_write_outside_sandbox"):
    """Write a file outside the sandbox."""

    path: str


class ExecuteCommand(_Action, frozen=True, tag="execute_command"):
    """Run a program; without `args`, `command` is a whole command line."""

    command: str
    args: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The command line; arguments that are no plain words are quoted."""
        return shlex.join((self.command, *self.args)) if self.args else self.command


class NetworkRequest(_Action, frozen=True, tag="network_request"):
    """Connect to a host."""

    host: str
    port: int


class TransmitData(_Action, frozen=True, tag="transmit_data"):
    """Send data of a kind somewhere."""

    destination: str
    data_type: str


class FinancialTransaction(_Action, frozen=True, tag="financial_transaction"):
    """Pay; the amount is text, because it is shown and never computed with."""

    amount: str
    recipient: str


class AccessControlChange(_Action, frozen=True, tag="access_control_change"):
    """Change who may do what."""

    resource: str
    change: str


class CapabilityGrant(_Action, frozen=True, tag="capability_grant"):
    """Give permissions away."""

    resource_pattern: str
    permissions: tuple[str, ...]


class McpToolCall(_Action, frozen=True, tag="mcp_tool_call"):
    """Call a tool of an MCP server."""

    server: str
    tool: str


class CapsuleExecution(_Action, frozen=True, tag="capsule_execution"):
    """A capsule uses a capability."""

    capsule_id: str
    capability: str


class CapsuleHttpRequest(_Action, frozen=True, tag="capsule_http_request"):
    """A capsule makes an HTTP request."""

    capsule_id: str
    url: str
    method: str


class CapsuleFileAccess(_Action, frozen=True, tag="capsule_file_access"):
    """A capsule reads, writes or deletes a file: `mode` is one of these words."""

    capsule_id: str
    path: str
    mode: str


class CapsuleNetBind(_Action, frozen=True, tag="capsule_net_bind"):
    """A capsule listens."""

    capsule_id: str


class CapsuleRequest(_Action, frozen=True, tag="capsule_request"):
    """A capsule asks a person in words of its own; the words are the action. Ours."""

    capsule_id: str
    action: str
    resource: str


Action: TypeAlias = (
    FileRead
    | FileDelete
    | FileWrite
    | ExecuteCommand
    | NetworkRequest
    | TransmitData
    | FinancialTransaction
    | AccessControlChange
    | CapabilityGrant
    | McpToolCall
    | CapsuleExecution
    | CapsuleHttpRequest
    | CapsuleFileAccess
    | CapsuleNetBind
    | CapsuleRequest
)
