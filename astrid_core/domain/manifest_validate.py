"""The rules a manifest must keep once its tables are read.

Trusted with keeping a hostile manifest inside its own directory and name: the capsule id, every
path, every key that later becomes part of a file name. Rules run in the documented order and the
first failure is raised. Spec: capsules-and-bus 1.10, 11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from astrid_core.domain.file_pattern import FilePatternError, parse_file_pattern
from astrid_core.domain.manifest_interfaces import check_identifiers
from astrid_core.domain.manifest_lines import KeyPath
from astrid_core.domain.manifest_model import Capabilities, Manifest, Package
from astrid_core.domain.manifest_topics import (
    check_grant_topics,
    check_legacy_topics,
    check_topic_declarations,
)
from astrid_core.domain.semver import Requirement, Version
from astrid_core.domain.toml_document import Document
from astrid_core.domain.toml_table import Table, did_you_mean
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import CapsuleId, is_capsule_id

_PACKAGE_TEXTS: Final = (
    "description",
    "repository",
    "homepage",
    "documentation",
    "license",
    "license-file",
    "readme",
)
_PACKAGE_LISTS: Final = ("authors", "keywords", "categories", "include", "exclude")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_ENV_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_CLI_COMMAND: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_CLI_RESERVED: Final = frozenset(
    {
        *("new", "install", "update", "list", "remove", "tree", "deps"),
        *("build", "check", "config", "show", "run", "help"),
    }
)
_IDENTITY_LEVELS: Final = ("resolve", "link", "admin")
_MAX_SHOWN: Final = 80


def read_package(table: Table, *, runtime_version: Version) -> Package:
    """`[package]`: its types first, then rules 4 to 6, then the capsule id.

    Raises:
        ManifestError: `E-TOML`, `E-UNKNOWN`, `E-RT-REQ`, `E-RT`, `E-VERSION` or `E-ID`.
    """
    table.only(
        (
            *("name", "version", "astrid-version", "publish", "metadata"),
            *(*_PACKAGE_TEXTS, *_PACKAGE_LISTS),
        )
    )
    name, version = table.need_text("name"), table.need_text("version")
    wanted = table.text("astrid-version")
    texts: dict[str, Any] = {key.replace("-", "_"): table.text(key) for key in _PACKAGE_TEXTS}
    lists: dict[str, Any] = {key: table.texts(key) for key in _PACKAGE_LISTS if key in table}
    publish, metadata = table.flag("publish"), table.mapping("metadata")
    return Package(
        astrid_version=_check_runtime(table, wanted, runtime_version=runtime_version),
        version=_check_version(table, version),
        name=_check_id(table, name),
        publish=publish,
        metadata=metadata,
        **texts,
        **lists,
    )


def _check_runtime(
    table: Table, wanted: str | None, *, runtime_version: Version
) -> Requirement | None:
    if wanted is None:
        return None
    try:
        requirement = Requirement.parse(wanted)
    except ConfigError as error:
        message = f"invalid astrid-version: {error.message}"
        raise table.error("E-RT-REQ", message, "astrid-version", hint=error.hint) from error
    if not requirement.matches(runtime_version):
        raise table.error(
            "E-RT",
            f"the capsule requires astrid-version {requirement}, this runtime is {runtime_version}",
            "astrid-version",
            hint="update the runtime, or install a version of the capsule made for this one",
        )
    return requirement


def _check_version(table: Table, text: str) -> Version:
    try:
        return Version.parse(text)
    except ConfigError as error:
        message = f"invalid version: {error.message}"
        raise table.error("E-VERSION", message, "version", hint=error.hint) from error


def _check_id(table: Table, name: str) -> CapsuleId:
    """The name becomes a directory and part of storage keys, so it is checked here [C-08]."""
    if is_capsule_id(name):
        return CapsuleId(name)
    similar = re.sub(r"[^a-z0-9]+", "-", name[:_MAX_SHOWN].lower()).strip("-")[:64].rstrip("-")
    hint = "use 1 to 64 lower-case letters, digits and hyphens"
    raise table.error(
        "E-ID",
        f"invalid capsule name {name[:_MAX_SHOWN]!r}",
        "name",
        hint=f"{hint}, for example {similar!r}" if similar else hint,
    )


def check_manifest(root: Table, manifest: Manifest, *, own_capabilities: Capabilities) -> None:
    """Apply our own rules and then rules 7 to 16.

    Args:
        root: The document, for places.
        manifest: As read; its capabilities are the merged ones.
        own_capabilities: Those of `[capabilities]` alone.

    Raises:
        ManifestError: With the id of the first rule that is broken.
    """
    document = root.document
    _check_uplinks(document, manifest)
    _check_paths(document, manifest)
    _check_env_keys(document, manifest)
    _check_commands(document, manifest)
    check_grant_topics(document, manifest)
    check_legacy_topics(document, manifest, own_capabilities=own_capabilities)
    check_identifiers(root, "imports", manifest.imports)
    check_identifiers(root, "exports", manifest.exports)
    _check_uplink_imports(document, manifest)
    check_topic_declarations(document, manifest.topics)
    _remark_on_dead_entries(document, manifest, own_capabilities)


def _check_uplinks(document: Document, manifest: Manifest) -> None:
    """What the uplink registry would refuse only after the capsule was loaded [C-35]."""
    if manifest.uplinks and manifest.name != manifest.name.strip("-"):
        raise document.error(
            "E-ID",
            f"a capsule with [[uplink]] cannot have the name {manifest.name!r}",
            at=("package", "name"),
            hint="remove the hyphen at the start or end",
        )
    for index, uplink in enumerate(manifest.uplinks):
        for key, value in (("name", uplink.name), ("platform", uplink.platform)):
            if not value.strip():
                at = ("uplink", index, key)
                raise document.error("E-UPLINK", f"the uplink's {key} is blank", at=at)


def _paths(manifest: Manifest) -> Iterator[tuple[str | None, KeyPath]]:
    for key, path in (
        ("license-file", manifest.package.license_file),
        ("readme", manifest.package.readme),
    ):
        yield path, ("package", key)
    files: tuple[tuple[str, tuple[str | None, ...]], ...] = (
        ("component", tuple(c.file for c in manifest.components)),
        ("context_file", tuple(c.file for c in manifest.context_files)),
        ("skill", tuple(s.file for s in manifest.skills)),
        ("command", tuple(c.file for c in manifest.commands)),
    )
    for table, entries in files:
        for index, path in enumerate(entries):
            yield path, (table, index, "file")


def _check_paths(document: Document, manifest: Manifest) -> None:
    """Every file a manifest names lies in the capsule directory [C-10].

    Backslashes and drive letters count as well: a capsule is installed on more than one system.
    """
    for path, at in _paths(manifest):
        if path is None:
            continue
        shown = repr(path[:_MAX_SHOWN])
        hint = "name a file below the capsule directory"
        if not path.strip():
            raise document.error("E-PATH", "the path is empty", at=at, hint=hint)
        if path.startswith(("/", "\\")) or _DRIVE.match(path):
            message = f"path {shown} must be relative"
            raise document.error("E-PATH-ABS", message, at=at, hint=hint)
        if ".." in re.split(r"[/\\]", path):
            message = f"path {shown} must not contain '..'"
            raise document.error("E-PATH-PARENT", message, at=at, hint=hint)


def _check_env_keys(document: Document, manifest: Manifest) -> None:
    """A key names a variable and, for secrets, a file."""
    for field in manifest.env:
        if _ENV_KEY.fullmatch(field.key) is None:
            raise document.error(
                "E-ENV-KEY",
                f"invalid [env] key {field.key[:_MAX_SHOWN]!r}",
                at=("env", field.key),
                hint="use 1 to 128 letters, digits, underscores, dots and hyphens; no leading dot",
            )


def _check_commands(document: Document, manifest: Manifest) -> None:
    for index, command in enumerate(manifest.commands):
        name = command.name
        if command.kind == "slash":
            continue
        at = ("command", index, "name")
        if _CLI_COMMAND.fullmatch(name) is None:
            raise document.error(
                "E-COMMAND",
                f"invalid command name {name[:_MAX_SHOWN]!r}",
                at=at,
                hint="start with a lower-case letter; at most 32 letters, digits, hyphens",
            )
        if name in _CLI_RESERVED:
            message = f"command name {name!r} is taken"
            raise document.error("E-COMMAND", message, at=at, hint="choose another name")


def _check_uplink_imports(document: Document, manifest: Manifest) -> None:
    """An uplink loads before everything it could import."""
    if manifest.capabilities.uplink and manifest.imports:
        raise document.error(
            "E-UPLINK-IMPORTS",
            "[imports] is not allowed on uplink capsules",
            at=("imports",),
            hint="remove [imports], or uplink = true from [capabilities]",
        )


def _remark_on_dead_entries(document: Document, manifest: Manifest, own: Capabilities) -> None:
    """Entries that are valid and can have no effect: nearly always a mistake."""
    for index, level in enumerate(own.identity):
        if level not in _IDENTITY_LEVELS:
            suggestion = did_you_mean(level, _IDENTITY_LEVELS) or "known: resolve, link, admin"
            message = f"unknown identity level, grants nothing; {suggestion}"
            document.warn("W-VALUE", message, at=("capabilities", "identity", index))
    for index, entry in enumerate(own.net_connect):
        if ":" not in entry:
            message = "no port, grants nothing; write host:port or host:*"
            document.warn("W-VALUE", message, at=("capabilities", "net_connect", index))
    servers = {server.id for server in manifest.mcp_servers} | {"*"}
    for key, ids in (("mcp_elicitation", own.mcp_elicitation), ("mcp_sampling", own.mcp_sampling)):
        for index, entry in enumerate(ids):
            if entry not in servers:
                message = "no server of this capsule has that id, grants nothing"
                document.warn("W-VALUE", message, at=("capabilities", key, index))
    _remark_on_file_entries(document, own)
    for table, legacy, grants in (
        ("publish", manifest.capabilities.ipc_publish, manifest.publish),
        ("subscribe", manifest.capabilities.ipc_subscribe, manifest.subscribe),
    ):
        if legacy and grants:
            message = f"ipc_{table} has no effect next to [{table}]"
            document.warn("W-LEGACY", message, at=("capabilities", f"ipc_{table}"))


def _remark_on_file_entries(document: Document, own: Capabilities) -> None:
    for key, entries in (("fs_read", own.fs_read), ("fs_write", own.fs_write)):
        for index, entry in enumerate(entries):
            try:
                parse_file_pattern(entry)
            except FilePatternError as error:
                hint = f"; {error.hint}" if error.hint else ""
                message = f"{error.message}, grants nothing{hint}"
                document.warn("W-VALUE", message, at=("capabilities", key, index))
