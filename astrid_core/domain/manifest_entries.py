"""The records of a manifest's topic, setting and array tables.

Trusted with nothing: plain frozen data, checked by the reader before it is made.
Spec: capsules-and-bus 1.6, 1.8, 1.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

DEFAULT_PRIORITY: Final = 100

Direction = Literal["publish", "subscribe"]
CommandKind = Literal["slash", "cli"]
UplinkProfile = Literal["chat", "interactive", "notify", "bridge"]
PinKind = Literal["version", "tag", "rev", "branch", "path"]
MCP_TYPES: Final = ("stdio", "http")
"""Types of MCP servers that an engine runs; others are accepted and ignored."""


class Pin(NamedTuple):
    """Where the interface description of a topic comes from; the kernel never resolves it."""

    kind: PinKind
    value: str


@dataclass(frozen=True, slots=True)
class TopicGrant:
    """One key of `[publish]` or `[subscribe]`. Spec: capsules-and-bus 1.6.

    Attributes:
        topic: Topic or pattern.
        wit: Record name, `@scope/repo/interface/record`, or `opaque`.
    """

    topic: str
    wit: str
    pin: Pin | None = None


@dataclass(frozen=True, slots=True)
class PublishGrant(TopicGrant):
    """One key of `[publish]`."""

    fanout: bool = False


@dataclass(frozen=True, slots=True)
class SubscribeGrant(TopicGrant):
    """One key of `[subscribe]`; with a handler it is an interceptor binding as well.

    Attributes:
        handler: Interceptor action that matching events call, or None.
        priority: Lower runs first. The upstream runtime 0.7.0 ignores it; we honour it.
    """

    handler: str | None = None
    priority: int = DEFAULT_PRIORITY


@dataclass(frozen=True, slots=True)
class EnvField:
    """`[env.KEY]`: a setting or a secret of the capsule. Spec: capsules-and-bus 1.8.

    Attributes:
        type: `secret` and `array` have meaning, everything else is text.
        request: The question to ask.
        default: Text form of the default: a string as it is, other values as compact JSON.
        enum_values: Two or more make it a choice.
    """

    key: str
    type: str
    request: str
    description: str | None = None
    placeholder: str | None = None
    default: str | None = None
    enum_values: tuple[str, ...] = ()

    @property
    def is_secret(self) -> bool:
        """Whether the value belongs in the secret store and nowhere else."""
        return self.type.lower() == "secret"


@dataclass(frozen=True, slots=True)
class McpServer:
    """One `[[mcp_server]]`; the types `stdio` and `http` are run.

    Attributes:
        url: Of an `http` server.
        env: Keys of `[env]` that it gets; None for all that are no secrets.
        bearer: Key of `[env]` whose value is sent as a token to an `http` server.
        shared: Whether one process serves all principals.
    """

    id: str
    type: str | None = None
    command: str | None = None
    args: tuple[str, ...] = ()
    description: str | None = None
    url: str | None = None
    env: tuple[str, ...] | None = None
    bearer: str | None = None
    shared: bool = False

    @property
    def is_run(self) -> bool:
        """Whether an engine runs servers of this type."""
        return self.type in MCP_TYPES


@dataclass(frozen=True, slots=True)
class Uplink:
    """One `[[uplink]]`: a front end the capsule connects. `platform` is trimmed and lower-cased."""

    name: str
    platform: str
    profile: UplinkProfile


@dataclass(frozen=True, slots=True)
class Command:
    """One `[[command]]`: a slash command, or a command of the terminal client."""

    name: str
    description: str | None = None
    file: str | None = None
    kind: CommandKind = "slash"


@dataclass(frozen=True, slots=True)
class ContextFile:
    """One `[[context_file]]`; `file` is relative to the capsule directory, without `..`."""

    name: str
    file: str


@dataclass(frozen=True, slots=True)
class Skill:
    """One `[[skill]]`; `file` is relative to the capsule directory, without `..`."""

    name: str
    file: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """One `[[tool]]`: documentation of a tool; what routes to it is its subscribe key."""

    name: str
    description_for_llm: str
    input_schema_wit: str | None = None
    mutable: bool = False


@dataclass(frozen=True, slots=True)
class Interceptor:
    """One `[[interceptor]]`, the legacy form of a subscribe key with a handler."""

    event: str
    action: str
    priority: int = DEFAULT_PRIORITY


@dataclass(frozen=True, slots=True)
class TopicDeclaration:
    """One `[[topic]]`: documentation and schema for the catalog. Grants nothing."""

    name: str
    direction: Direction
    description: str | None = None
    schema: str | None = None
    wit_type: str | None = None
