"""Tools that an engine finds out at run time, because a server of its own tells it.

The manifest of a component names its tools; the manifest of a tool server names the server, and
which tools there are is what the server says. An engine for such servers is handed a `ToolHost`.
It is trusted with nothing: what may be started, with which environment, and who may call which
tool is decided on the kernel's side of this interface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call, HostApi, McpServerSpec
from astrid_hookspecs.sandboxes import SandboxLimits
from astrid_hookspecs.values import Principal

FormValue: TypeAlias = str | int | float | bool | list[str]
"""What a field of a server's form can hold."""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool that can be called on the bus from now on.

    Attributes:
        name: On the bus: letters, digits, `_`, `-` and `:`.
        server: Id of the server that answers.
        tool: Its own part of the right that callers need: letters, digits, `_` and `-`.
        description: For the model that chooses it.
        input_schema: JSON Schema of the arguments.
        output_schema: JSON Schema of the structured answer, None without one.
        annotations: Hints of the server (`readOnlyHint`), which nobody checks.
    """

    name: str
    server: str
    tool: str
    description: str = ""
    input_schema: Mapping[str, object] = field(default_factory=dict, hash=False)
    output_schema: Mapping[str, object] | None = field(default=None, hash=False)
    annotations: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool answered.

    Attributes:
        content: The text of it; what is no text is named there in brackets.
        is_error: Whether the tool reports a failure.
        blocks: Everything it answered, as MCP content blocks; empty where `content` says it all.
        structured: The structured answer, None without one.
    """

    content: str
    is_error: bool = False
    blocks: tuple[Mapping[str, object], ...] = field(default=(), hash=False)
    structured: object = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class ServerGround:
    """What a server may stand on, decided and recorded by the kernel.

    Attributes:
        directory: Where it works and may write; its own and the principal's.
        environment: The configured part of its environment, secrets included.
        asks_people: Whether it is told that it may ask people.
        asks_models: Whether it is told that it may ask models.
        readable: Trees it has to see even where they are hidden otherwise.
        writable: Trees it may change besides `directory`.
        network: Whether it may use the network.
        limits: Resources.
    """

    directory: Path
    environment: Mapping[str, str] = field(repr=False, hash=False)
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    network: bool = False
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    asks_people: bool = False
    asks_models: bool = False


@dataclass(frozen=True, slots=True)
class PersonAnswer:
    """What came of a form that a server asked a person to fill in.

    Attributes:
        action: Whether the person answered, said no, or did neither.
        content: The answers by name, after `accept`.
    """

    action: Literal["accept", "decline", "cancel"]
    content: Mapping[str, FormValue] = field(default_factory=dict, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class ModelPrompt:
    """What a server asks a model.

    Attributes:
        messages: Pairs of `user` or `assistant` and a text, oldest first.
        system: What the model is told before them.
        hints: Names of models or families that it would like, best first.
    """

    messages: tuple[tuple[Literal["user", "assistant"], str], ...] = field(repr=False)
    system: str = field(default="", repr=False)
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What a model said.

    Attributes:
        text: All of it.
        model: Who was asked.
        is_cut: Whether it stopped because it had said as much as it may.
    """

    text: str = field(repr=False)
    model: str = ""
    is_cut: bool = False


@runtime_checkable
class ToolHost(HostApi, Protocol):
    """The kernel's side of a capsule with tool servers. Every method from any thread."""

    def open_server(self, server: McpServerSpec, principal: Principal) -> ServerGround:
        """May this server be started for the principal? Records that it is.

        Raises:
            CapabilityDeniedError: `host_process` or `net` of the manifest does not cover it.
            PolicyDeniedError: A policy refused.
            SecretError: A secret that it needs is not there.
            AuditError: It could not be recorded.
        """
        ...

    def server_address(self, server: McpServerSpec, principal: Principal) -> str:
        """The address to connect to for a server elsewhere; asked before every connection.

        Raises:
            CapabilityDeniedError: `net` does not cover its host, or the host leads to an address
                inside that no operator opened.
            PolicyDeniedError: A policy refused.
            ServerError: `engine.server.address`: it has none.
        """
        ...

    def close_server(self, server: McpServerSpec, principal: Principal, *, reason: str) -> None:
        """A server that `open_server` allowed has ended; `reason` is a few words."""
        ...

    def offer_tools(self, tools: Sequence[OfferedTool]) -> None:
        """Replace what the capsule offers besides the tools of its manifest; names are unique."""
        ...

    def taken_tools(self) -> frozenset[str]:
        """Names of tools that other loaded capsules offer, or this one by its manifest."""
        ...

    def answer(self, call: Call, tool: str, *, call_id: str, answer: ToolAnswer) -> None:
        """Publish the answer to a tool call.

        Args:
            call: The call that it answers.
            tool: Name on the bus, one of those offered.
            call_id: From the request.
            answer: What the server said.

        Raises:
            ToolError: `tool.answer`: it is too long for the bus.
            DeniedError: The tool is not offered, or a policy refused.
        """
        ...

    def report_progress(
        self,
        call: Call,
        tool: str,
        *,
        call_id: str,
        progress: float,
        total: float | None,
        message: str,
    ) -> None:
        """Publish how far a tool call is, on `tool.v1.execute.<tool>.progress`.

        Raises:
            As `answer`.
        """
        ...

    def record_use(
        self, call: Call, *, kind: Literal["resource", "prompt"], server: str, what: str
    ) -> None:
        """Record that a resource is about to be read or a prompt to be made.

        Raises:
            AuditError: It could not be recorded and must not happen.
        """
        ...

    def ask_person(
        self,
        call: Call,
        server: str,
        *,
        message: str,
        schema: Mapping[str, object],
        cancel: CancelToken,
    ) -> PersonAnswer:
        """Ask the person behind a call to fill in a server's form; blocks until that is over.

        Args:
            call: Under way at the server, for whose principal it asks.
            server: Its id.
            message: Why it asks.
            schema: Of the form, as MCP defines it.
            cancel: Fired when nobody waits for the answer any more.

        Raises:
            DeniedError: The manifest does not let the server ask, a policy refused, or it asks too
                often.
            AstridError: The form cannot be shown, wants a secret, or could not be recorded.
        """
        ...

    def ask_model(
        self, call: Call, server: str, *, prompt: ModelPrompt, cancel: CancelToken
    ) -> ModelAnswer:
        """Ask a model for a server, after a person agreed; blocks until that is over.

        Args:
            call: As for `ask_person`.
            server: The same.
            prompt: What is asked.
            cancel: As for `ask_person`.

        Raises:
            DeniedError: As `ask_person`, or a person said no.
            AstridError: There is no model, it failed, or it did not answer in time.
        """
        ...

    def log(self, principal: Principal, level: str, line: str) -> None:
        """Append a line to the principal's log of the capsule; whatever is in it is escaped."""
        ...

    def blocked(self) -> AbstractContextManager[object]:
        """Entered while a worker thread waits for a server."""
        ...


@dataclass(frozen=True, slots=True)
class ToolPin:
    """One tool as it was accepted, and what its server says about it now.

    Attributes:
        capsule: Whose server it is.
        server: Id of the server.
        tool: Name as the server gives it, shown with escapes.
        offered_as: Name on the bus; empty while it is blocked.
        accepted: 64 hex digits, BLAKE3 of the accepted definition; empty when none was accepted.
        proposed: The same of a definition that waits for approval; empty when none does.
        reasons: Why it waits: `changed`, `shadows NAME`, `hidden characters`, `too large`.
        diff: Unified diff from the accepted to the proposed definition, with escapes.
    """

    capsule: str
    server: str
    tool: str
    offered_as: str
    accepted: str
    proposed: str = ""
    reasons: tuple[str, ...] = ()
    diff: str = ""


@runtime_checkable
class PinnedTools(Protocol):
    """A `LoadedCapsule` that holds back tools until somebody approved them."""

    def pins(self) -> tuple[ToolPin, ...]:
        """Every tool that was ever accepted or waits, by server and name."""
        ...

    def approve(self, server: str, tool: str, *, proposed: str) -> ToolPin:
        """Accept what waits.

        Args:
            server: Id of the server.
            tool: Name as `ToolPin.tool` shows it.
            proposed: The digest that was looked at: if the server has changed the tool since, that
                is refused.

        Raises:
            ToolNotFoundError: Nothing waits under that name.
            ToolError: `tool.pin-changed`: something else waits now.
        """
        ...
