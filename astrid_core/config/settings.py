"""`etc/config.toml`: which implementations the kernel uses and how much it may use.

Trusted with defaults: what the file does not say is the closed choice. A file with a single wrong
key is refused whole, because a setting that is silently not applied is a hole nobody sees.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from astrid_core.config.budget import KEYS as BUDGET_KEYS
from astrid_core.config.budget import BudgetSettings, parse_budget
from astrid_core.config.policy import KEYS as POLICY_KEYS
from astrid_core.config.policy import parse_policy, policy_values
from astrid_core.domain.action_policy import ActionPolicy
from astrid_core.domain.egress import EgressRule, parse_egress
from astrid_core.domain.toml_document import Document
from astrid_core.domain.toml_table import Table

LOG_LEVELS: Final = ("trace", "debug", "info", "warn", "error")

SECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "kernel": ("bus",),
    "storage": ("backend",),
    "secrets": ("backend",),
    "engines": ("component", "mcp_server"),
    "limits": ("workers", "instances"),
    "logging": ("level",),
    "network": ("local_egress", "connections"),
    "files": ("overlay", "hard_links"),
    "processes": ("network", "workspace"),
    "audit": ("strict", "max_mib", "max_age_days"),
    "budget": BUDGET_KEYS,
    "policy": POLICY_KEYS,
    "identity": ("links",),
}
TABLES: Final = ("mounts", "identity")
"""Sections whose contents are tables of their own."""
_LINK_KEYS: Final = ("platform", "platform_user_id", "astrid_user", "method")
_LINK_METHOD: Final = "admin"
_MOUNT_KEYS: Final = ("url", "access")
HARD_LINKS: Final = ("refuse", "read")
ACCESS: Final = ("read", "write")
NETWORK: Final = ("refuse", "allow")
TAKEN_SCHEMES: Final = frozenset({"workspace", "cwd", "home", "tmp", "file"})
"""Names that no mount can have: guests know them as something else."""
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*)://.*", re.DOTALL)
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_WORKERS: Final = range(1, 257)
_INSTANCES: Final = range(1, 100_001)
_CONNECTIONS: Final = range(1, 10_001)
_AUDIT_MIB: Final = range(4, 1_000_001)
_AUDIT_DAYS: Final = range(1, 36_501)
_MAX_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engine runs which kind of capsule entry; None: the only one that can.

    Attributes:
        component: Engine for WebAssembly components.
        mcp_server: Engine for MCP servers.
    """

    component: str | None = None
    mcp_server: str | None = None

    def for_entry(self, entry: str) -> str | None:
        """The configured engine for an entry kind (`component`, `mcp_server`)."""
        return {"component": self.component, "mcp_server": self.mcp_server}.get(entry)


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much the whole kernel may use; limits of principals are in their profiles.

    Attributes:
        workers: Threads that run guest calls at once.
        instances: Guest instances kept between calls; the longest unused one goes first.
    """

    workers: int = field(default_factory=lambda: min(32, 4 * (os.cpu_count() or 1)))
    instances: int = 256


@dataclass(frozen=True, slots=True)
class MountSettings:
    """One `[mounts.<name>]` table: a file system that guests see as `<name>://`.

    Attributes:
        scheme: Chooses the backend.
        root: What the backend opens: the URL after `://`.
        writable: Whether guests may change it; every principal shares it.
    """

    scheme: str
    root: str
    writable: bool


@dataclass(frozen=True, slots=True)
class FileSettings:
    """How workspaces are opened.

    Attributes:
        overlay: Name of the overlay record; None: the only one.
        reads_hard_links: Whether workspace files with several names may be read, although nobody
            can tell whether the other names are outside.
    """

    overlay: str | None = None
    reads_hard_links: bool = False


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What processes that capsules start may do besides what their manifests say.

    Attributes:
        network: Whether those of capsules with `net = ["*"]` may use the network. Nobody can tell
            whom they talk to, this machine and its neighbours included.
        writes_workspace: Whether they may change the workspace on the disk, past the overlay.
    """

    network: bool = False
    writes_workspace: bool = False


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """How much of the audit log is kept, and what happens when it is not as it was written.

    Attributes:
        strict: Refuse to start on a log that does not verify, instead of saying so.
        max_mib: Size of all of it.
        max_age_days: Age of the oldest part.
    """

    strict: bool = False
    max_mib: int = 100
    max_age_days: int = 90


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """One `[[identity.links]]` entry: whose account on a platform this is.

    Attributes:
        platform: Name of the platform.
        account: The id there.
        user: UUID of a user, or a display name; a user that has none yet is made.
        method: Who vouches for it.
    """

    platform: str
    account: str
    user: str
    method: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `etc/config.toml` can say.

    Attributes:
        bus: Name of the bus record.
        storage: Name of the key-value store record.
        secrets: Name of the secret store record; None: the first by priority.
        engines: Engines by entry kind.
        limits: Limits of the whole kernel.
        log_level: One of `LOG_LEVELS`.
        files: How workspaces are opened.
        processes: What processes of capsules may do.
        mounts: File systems besides the workspace and the homes, by name.
        audit: Bounds of the audit log.
        links: Accounts of users, in the order of the file.
        local_egress: Addresses inside that capsules may reach if their manifest says so.
        budget: How much of what capsules tell they spend is let through.
        policy: What is blocked or asked about; None: not switched on.
        connections: Sockets and requests that a principal may have at a time, in all capsules.
    """

    bus: str = "memory"
    storage: str = "sqlite"
    secrets: str | None = None
    engines: EngineSettings = EngineSettings()
    limits: LimitSettings = field(default_factory=LimitSettings)
    log_level: str = "info"
    files: FileSettings = FileSettings()
    processes: ProcessSettings = ProcessSettings()
    mounts: Mapping[str, MountSettings] = field(default_factory=dict)
    audit: AuditSettings = AuditSettings()
    links: tuple[LinkSettings, ...] = ()
    local_egress: tuple[EgressRule, ...] = ()
    connections: int = 64
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    policy: ActionPolicy | None = None


def parse_settings(document: Document) -> Settings:
    """Check a parsed file completely.

    Raises:
        ConfigError: `config.*`, naming the file, the line and the key.

    Spec: kernel-and-security 14.
    """
    root = Table.root(document)
    root.only((*SECTIONS, "mounts"))
    sections = {name: root.section(name) for name in SECTIONS}
    for name, keys in SECTIONS.items():
        sections[name].only(keys)
    default = Settings()
    files, mounts = sections["files"], root.section("mounts")
    return Settings(
        bus=_name(sections["kernel"], "bus") or default.bus,
        storage=_name(sections["storage"], "backend") or default.storage,
        secrets=_name(sections["secrets"], "backend"),
        engines=EngineSettings(
            component=_name(sections["engines"], "component"),
            mcp_server=_name(sections["engines"], "mcp_server"),
        ),
        limits=_limits(sections["limits"], default.limits),
        log_level=sections["logging"].choice("level", LOG_LEVELS) or default.log_level,
        files=FileSettings(
            overlay=_name(files, "overlay"),
            reads_hard_links=files.choice("hard_links", HARD_LINKS) == "read",
        ),
        processes=ProcessSettings(
            network=sections["processes"].choice("network", NETWORK) == "allow",
            writes_workspace=sections["processes"].choice("workspace", ACCESS) == "write",
        ),
        mounts={name: _mount(mounts, name) for name in mounts},
        audit=_audit(sections["audit"], default.audit),
        links=tuple(_link(entry) for entry in sections["identity"].tables("links")),
        local_egress=_local_egress(sections["network"]),
        connections=sections["network"].bounded("connections", _CONNECTIONS, rule="E-VALUE")
        or default.connections,
        budget=parse_budget(sections["budget"]),
        policy=parse_policy(sections["policy"]),
    )


def settings_values(settings: Settings) -> dict[str, Any]:
    """The settings by dotted key, as a file would say them; without mounts and links.

    None stands for a choice that is left to what is installed.
    """
    return {
        "kernel.bus": settings.bus,
        "storage.backend": settings.storage,
        "secrets.backend": settings.secrets,
        "engines.component": settings.engines.component,
        "engines.mcp_server": settings.engines.mcp_server,
        "limits.workers": settings.limits.workers,
        "limits.instances": settings.limits.instances,
        "logging.level": settings.log_level,
        "files.overlay": settings.files.overlay,
        "files.hard_links": "read" if settings.files.reads_hard_links else "refuse",
        "processes.network": "allow" if settings.processes.network else "refuse",
        "processes.workspace": "write" if settings.processes.writes_workspace else "read",
        "network.local_egress": [str(rule) for rule in settings.local_egress],
        "network.connections": settings.connections,
        "audit.strict": settings.audit.strict,
        "audit.max_mib": settings.audit.max_mib,
        "audit.max_age_days": settings.audit.max_age_days,
        **{f"budget.{key}": getattr(settings.budget, key) for key in BUDGET_KEYS},
        **policy_values(settings.policy),
    }


def _local_egress(table: Table) -> tuple[EgressRule, ...]:
    rules = []
    for index, text in enumerate(table.texts("local_egress") or ()):
        try:
            rules.append(parse_egress(text))
        except ValueError as error:
            raise table.error(
                "E-VALUE",
                f"{text[:_MAX_SHOWN]!r} is no local target: {error}",
                "local_egress",
                index,
                hint='for example local_egress = ["127.0.0.1:8080"]',
            ) from error
    return tuple(rules)


def _limits(table: Table, default: LimitSettings) -> LimitSettings:
    return LimitSettings(
        workers=table.bounded("workers", _WORKERS, rule="E-VALUE") or default.workers,
        instances=table.bounded("instances", _INSTANCES, rule="E-VALUE") or default.instances,
    )


def _link(entry: Table) -> LinkSettings:
    entry.only(_LINK_KEYS)
    return LinkSettings(
        _filled(entry, "platform"),
        _filled(entry, "platform_user_id"),
        _filled(entry, "astrid_user"),
        entry.text("method") or _LINK_METHOD,
    )


def _filled(table: Table, key: str) -> str:
    text = table.need_text(key)
    if not text:
        raise table.error("E-VALUE", "is empty", key)
    return text


def _audit(table: Table, default: AuditSettings) -> AuditSettings:
    strict = table.flag("strict")
    return AuditSettings(
        strict=default.strict if strict is None else strict,
        max_mib=table.bounded("max_mib", _AUDIT_MIB, rule="E-VALUE") or default.max_mib,
        max_age_days=table.bounded("max_age_days", _AUDIT_DAYS, rule="E-VALUE")
        or default.max_age_days,
    )


def _mount(mounts: Table, name: str) -> MountSettings:
    if name in TAKEN_SCHEMES or _NAME.fullmatch(name) is None:
        raise mounts.error(
            "E-VALUE",
            f"{name[:_MAX_SHOWN]!r} is no name for a mount",
            name,
            hint="use lower-case words joined by hyphens; not workspace, cwd, home, tmp or file",
        )
    table = mounts.need_table(name)
    table.only(_MOUNT_KEYS)
    url = table.need_text("url")
    found = _URL.fullmatch(url)
    if found is None:
        hint = 'for example url = "memory://notes"'
        raise table.error("E-VALUE", "has to be a URL", "url", hint=hint)
    access = table.choice("access", ACCESS)
    return MountSettings(found.group(1), url.partition("://")[2], writable=access == "write")


def _name(table: Table, key: str) -> str | None:
    found = table.text(key)
    if found is not None and _NAME.fullmatch(found) is None:
        raise table.error("E-VALUE", f"{found[:_MAX_SHOWN]!r} is not a name", key)
    return found
