"""What a capsule says about itself: the frozen result of reading a `Capsule.toml`.

Trusted with the derived lists that the kernel acts on: the two access lists, the interceptor
bindings, the merged capabilities. Values here have passed every rule of the reader; build them with
`parse_manifest`, not by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from astrid_core.domain.manifest_entries import (
    Command,
    ContextFile,
    EnvField,
    Interceptor,
    McpServer,
    PublishGrant,
    Skill,
    SubscribeGrant,
    Tool,
    TopicDeclaration,
    Uplink,
)
from astrid_core.domain.semver import Requirement, Version
from astrid_core.domain.toml_document import Diagnostic
from astrid_hookspecs.engines import InterceptorBinding
from astrid_hookspecs.values import CapsuleId

State = Literal["shared", "fresh"]
RunClass = Literal["auto", "call", "run"]

_TOOL_TOPIC: Final = re.compile(r"tool\.v1\.execute\.([A-Za-z0-9_:-]+)")
_RESULT_TOPIC: Final = "result"
"""`tool.v1.execute.result` carries answers to agent loops, so no tool can have that name."""


@dataclass(frozen=True, slots=True)
class Package:
    """`[package]`. Spec: capsules-and-bus 1.3.

    Attributes:
        name: The capsule id.
        version: Of the capsule.
        astrid_version: Runtime versions it works with; already found satisfied.
        license_file: Relative to the capsule directory, without `..`; so is `readme`.
        metadata: Free form, as the TOML reader returned it. Not to be changed.
    """

    name: CapsuleId
    version: Version
    astrid_version: Requirement | None = None
    description: str | None = None
    repository: str | None = None
    homepage: str | None = None
    documentation: str | None = None
    license: str | None = None
    license_file: str | None = None
    readme: str | None = None
    authors: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    publish: bool | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    metadata: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`[capabilities]`: what the capsule asks the gate for; empty asks for nothing.

    Spec: capsules-and-bus 1.7; host-abi 12.
    """

    uplink: bool = False
    net: tuple[str, ...] = ()
    net_connect: tuple[str, ...] = ()
    net_bind: tuple[str, ...] = ()
    net_tcp_bind: tuple[str, ...] = ()
    net_udp: tuple[str, ...] = ()
    fs_read: tuple[str, ...] = ()
    fs_write: tuple[str, ...] = ()
    host_process: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    kv: tuple[str, ...] = ()
    ipc_publish: tuple[str, ...] = ()
    ipc_subscribe: tuple[str, ...] = ()
    mcp_elicitation: tuple[str, ...] = ()
    mcp_sampling: tuple[str, ...] = ()
    allow_prompt_injection: bool = False
    allow_persistent: bool = False


CAPABILITY_FLAGS: Final = ("uplink", "allow_prompt_injection", "allow_persistent")
CAPABILITY_LISTS: Final = tuple(
    name for name in Capabilities.__dataclass_fields__ if name not in CAPABILITY_FLAGS
)


@dataclass(frozen=True, slots=True)
class Component:
    """One `[[component]]`; only the first is executed. Spec: capsules-and-bus 1.4.

    Attributes:
        file: Relative to the capsule directory, without `..`.
        hash: 64 lower-case hex digits, BLAKE3 of the file; None when the author gave none.
        capabilities: As written here; `Manifest.capabilities` has them merged.
    """

    file: str
    id: str = ""
    hash: str | None = None
    type: str = ""
    link: tuple[str, ...] = ()
    capabilities: Capabilities = Capabilities()


@dataclass(frozen=True, slots=True)
class Import:
    """An interface the capsule wants some other capsule to export. Spec: capsules-and-bus 1.5."""

    namespace: str
    interface: str
    requirement: Requirement
    optional: bool = False

    @property
    def name(self) -> str:
        """`namespace:interface`."""
        return f"{self.namespace}:{self.interface}"


@dataclass(frozen=True, slots=True)
class Export:
    """An interface the capsule offers. Spec: capsules-and-bus 1.5."""

    namespace: str
    interface: str
    version: Version

    @property
    def name(self) -> str:
        """`namespace:interface`."""
        return f"{self.namespace}:{self.interface}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A valid `Capsule.toml`. Collections are in declaration order.

    Spec: capsules-and-bus 1.

    Attributes:
        capabilities: Those of the root, with every component's lists appended.
        state: `shared`: one instance per principal; `fresh`: a new instance per call.
        run_class: `auto` detects a run loop; `call` and `run` force the class.
        warnings: What was accepted with a remark.
    """

    package: Package
    components: tuple[Component, ...] = ()
    imports: tuple[Import, ...] = ()
    exports: tuple[Export, ...] = ()
    publish: tuple[PublishGrant, ...] = ()
    subscribe: tuple[SubscribeGrant, ...] = ()
    capabilities: Capabilities = Capabilities()
    env: tuple[EnvField, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    uplinks: tuple[Uplink, ...] = ()
    commands: tuple[Command, ...] = ()
    context_files: tuple[ContextFile, ...] = ()
    skills: tuple[Skill, ...] = ()
    tools: tuple[Tool, ...] = ()
    legacy_interceptors: tuple[Interceptor, ...] = ()
    topics: tuple[TopicDeclaration, ...] = ()
    state: State = "shared"
    run_class: RunClass = "auto"
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def name(self) -> CapsuleId:
        """The capsule id."""
        return self.package.name

    @property
    def component(self) -> Component | None:
        """The component that is executed, hashed and scanned: the first one."""
        return self.components[0] if self.components else None

    @property
    def effective_publish_acl(self) -> tuple[str, ...]:
        """Topics it may publish: the keys of `[publish]`, else the legacy list; never both."""
        return tuple(g.topic for g in self.publish) or self.capabilities.ipc_publish

    @property
    def effective_subscribe_acl(self) -> tuple[str, ...]:
        """Topics it may subscribe: the keys of `[subscribe]`, else the legacy list; never both."""
        return tuple(g.topic for g in self.subscribe) or self.capabilities.ipc_subscribe

    @property
    def interceptors(self) -> tuple[InterceptorBinding, ...]:
        """Subscribe keys with a handler, then legacy entries for events not among those.

        Not limited by the subscribe access list. Spec: capsules-and-bus 1.6.
        """
        bound = [
            InterceptorBinding(g.topic, g.handler, g.priority)
            for g in self.subscribe
            if g.handler is not None
        ]
        events = {binding.topic for binding in bound}
        legacy = (i for i in self.legacy_interceptors if i.event not in events)
        return (*bound, *(InterceptorBinding(i.event, i.action, i.priority) for i in legacy))

    @property
    def is_uplink(self) -> bool:
        """Whether it is a front end: loads first, may publish on behalf of others."""
        return self.capabilities.uplink

    @property
    def is_daemon(self) -> bool:
        """Whether its calls have no deadline. Spec: capsules-and-bus 5.3 step 19."""
        return bool(self.uplinks) or self.is_uplink

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Tools it answers: effective bindings on `tool.v1.execute.<name>`.

        Spec: capsules-and-bus 8.1.
        """
        found = (_TOOL_TOPIC.fullmatch(binding.topic) for binding in self.interceptors)
        names = dict.fromkeys(match[1] for match in found if match is not None)
        return tuple(name for name in names if name != _RESULT_TOPIC)

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """`[env]` keys whose values belong in the secret store."""
        return tuple(entry.key for entry in self.env if entry.is_secret)
