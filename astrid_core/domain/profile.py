"""Profiles and groups of principals, from `etc/profiles/{p}.toml` and `etc/groups.toml`.

Trusted with limits and rights: a file that is not understood completely is refused, never half
applied. Pure text in, value out. Spec: kernel-and-security 5.2 to 5.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from astrid_core.domain.capability import BUILTIN_GROUPS, Group, is_universal, parse_capability
from astrid_core.domain.toml_document import Document
from astrid_core.domain.toml_table import I64_END, Table
from astrid_hookspecs.engines import MIB, Limits
from astrid_hookspecs.errors import ConfigError, DocumentError

PROFILE_VERSION: Final = 1
MAX_TIMEOUT_S: Final = 86_400
MAX_PROCESSES: Final = 256
MAX_CPU_SECS: Final = 61_440
"""Of a machine with 1024 processors, all of them."""
_GROUP_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_SHOWN: Final = 80

AuthMethod = Literal["keypair", "passkey", "system"]
_AUTH_METHODS: Final[tuple[AuthMethod, ...]] = get_args(AuthMethod)


class ProfileError(DocumentError):
    """A profile or group file was refused; whoever asked for it is denied.

    Rules: `E-TOML`, `E-SIZE`, `E-UNKNOWN`, `E-VALUE`.
    """

    default_code = "profile.invalid"
    domain = "profile"
    document = "profile"


@dataclass(frozen=True, slots=True)
class Quotas:
    """`[quotas]`: what a principal may use. Spec: kernel-and-security 5.3.

    Attributes:
        max_memory_bytes: Guest memory of one instance.
        max_timeout_secs: Wall time of one guest call, 1 to 86 400.
        max_ipc_throughput_bytes: Published bytes per second and instance.
        max_background_processes: At the same time, 0 to 256.
        max_storage_bytes: In the key-value store and the home directory together.
        max_cpu_secs_per_minute: Processor time of all its calls together, on average. Ours.
    """

    max_memory_bytes: int = 64 * MIB
    max_timeout_secs: int = 300
    max_ipc_throughput_bytes: int = 10 * MIB
    max_background_processes: int = 8
    max_storage_bytes: int = 1024 * MIB
    max_cpu_secs_per_minute: int = 60


@dataclass(frozen=True, slots=True)
class Profile:
    """What the kernel knows about a principal's rights and limits.

    Attributes:
        enabled: False refuses everything.
        groups: Names; they need not exist.
        grants: Capability patterns.
        revokes: Capability patterns that win over grants and groups.
        auth_methods: How the principal may authenticate.
        auth_public_keys: Its keys, as written.
        network_egress: Hosts its capsules may reach; empty for no opinion.
        process_allow: Programs its capsules may start; empty for no opinion.
    """

    profile_version: int = PROFILE_VERSION
    enabled: bool = True
    groups: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    revokes: tuple[str, ...] = ()
    auth_methods: tuple[AuthMethod, ...] = ()
    auth_public_keys: tuple[str, ...] = ()
    network_egress: tuple[str, ...] = ()
    process_allow: tuple[str, ...] = ()
    quotas: Quotas = Quotas()

    def limits(self) -> Limits:
        """The limits of one guest call."""
        return Limits(self.quotas.max_memory_bytes, float(self.quotas.max_timeout_secs))


DEFAULT_PROFILE: Final = Profile()
"""Of a principal without a file, and of an empty file."""

_QUOTA_BOUNDS: Final[Mapping[str, range]] = MappingProxyType(
    {
        "max_memory_bytes": range(1, I64_END),
        "max_timeout_secs": range(1, MAX_TIMEOUT_S + 1),
        "max_ipc_throughput_bytes": range(1, I64_END),
        "max_background_processes": range(MAX_PROCESSES + 1),
        "max_storage_bytes": range(1, I64_END),
        "max_cpu_secs_per_minute": range(1, MAX_CPU_SECS + 1),
    }
)


def parse_profile(text: str | bytes, *, path: str | None = None) -> Profile:
    """Read a profile; an empty text is the default profile.

    Args:
        text: The file, at most 1 MiB.
        path: How to name it in errors.

    Raises:
        ProfileError: Syntax, type, unknown key or a value out of bounds, with key and line.
    """
    root = Table.root(Document(text, path=path, error=ProfileError))
    root.only(
        (
            *("profile_version", "enabled", "groups", "grants", "revokes"),
            *("auth", "network", "process", "quotas"),
        )
    )
    version = root.u32("profile_version")
    if version is not None and version > PROFILE_VERSION:
        message = f"profile version {version} is newer than {PROFILE_VERSION}"
        hint = "update the runtime, or write the profile for this one"
        raise root.error("E-VALUE", message, "profile_version", hint=hint)
    enabled = root.flag("enabled")
    auth, network, process = (root.section(name) for name in ("auth", "network", "process"))
    auth.only(("methods", "public_keys"))
    network.only(("egress",))
    process.only(("allow",))
    return Profile(
        profile_version=PROFILE_VERSION if version is None else version,
        enabled=True if enabled is None else enabled,
        groups=_checked(root, "groups", _check_group_name),
        grants=_checked(root, "grants", _check_capability),
        revokes=_checked(root, "revokes", _check_capability),
        auth_methods=auth.choices("methods", _AUTH_METHODS),
        auth_public_keys=_checked(auth, "public_keys", _check_not_blank),
        network_egress=_checked(network, "egress", _check_not_blank),
        process_allow=_checked(process, "allow", _check_not_blank),
        quotas=_read_quotas(root.section("quotas")),
    )


def parse_groups(text: str | bytes, *, path: str | None = None) -> Mapping[str, Group]:
    """Read a group file.

    Returns:
        Every group there is, the built-in ones first.

    Raises:
        ProfileError: As `parse_profile`; also for a redefined built-in group, a bad group name, and
            a universal capability without `unsafe_admin`.

    Spec: kernel-and-security 5.4.
    """
    root = Table.root(Document(text, path=path, error=ProfileError))
    root.only(("groups",))
    groups = dict(BUILTIN_GROUPS)
    section = root.section("groups")
    for name in section:
        if name in BUILTIN_GROUPS:
            message = f"group {name!r} is built in and cannot be redefined"
            raise section.error("E-VALUE", message, name, hint="choose another name")
        if (fault := _check_group_name(name)) is not None:
            raise section.error("E-VALUE", fault, name)
        groups[name] = _read_group(section.need_table(name))
    return MappingProxyType(groups)


def _read_group(table: Table) -> Group:
    table.only(("capabilities", "description", "unsafe_admin"))
    unsafe_admin = table.flag("unsafe_admin") or False
    capabilities = _checked(table, "capabilities", _check_capability)
    for index, capability in enumerate(capabilities):
        if is_universal(capability) and not unsafe_admin:
            raise table.error(
                "E-VALUE",
                f"capability {capability!r} covers everything",
                *("capabilities", index),
                hint="name what the group may do, or set unsafe_admin = true",
            )
    return Group(capabilities, table.text("description") or "", unsafe_admin)


def _read_quotas(table: Table) -> Quotas:
    table.only(_QUOTA_BOUNDS)
    found = {
        key: table.bounded(key, bounds, rule="E-VALUE") for key, bounds in _QUOTA_BOUNDS.items()
    }
    given = {key: value for key, value in found.items() if value is not None}
    return Quotas(**given)


def _checked(table: Table, key: str, fault_of: Callable[[str], str | None]) -> tuple[str, ...]:
    """A list of texts, each of which has passed a check."""
    values = table.texts(key) or ()
    for index, value in enumerate(values):
        if (fault := fault_of(value)) is not None:
            raise table.error("E-VALUE", fault, key, index)
    return values


def _check_group_name(name: str) -> str | None:
    if _GROUP_NAME.fullmatch(name) is not None:
        return None
    return f"{name[:_MAX_SHOWN]!r} is not 1 to 64 letters, digits, underscores and hyphens"


def _check_capability(text: str) -> str | None:
    try:
        parse_capability(text)
    except ConfigError as error:
        return error.message
    return None


def _check_not_blank(text: str) -> str | None:
    return None if text.strip() else "the entry is blank"
