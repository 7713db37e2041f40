"""`[imports]` and `[exports]`: named, versioned interfaces in their two spellings.

Trusted with load order and removal warnings, which are all that interfaces drive; they give no
access to anything. Spec: capsules-and-bus 1.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from astrid_core.domain.manifest_lines import KeyPath
from astrid_core.domain.manifest_model import Export, Import
from astrid_core.domain.semver import Requirement, Version
from astrid_core.domain.toml_table import Table, type_name
from astrid_hookspecs.errors import ConfigError

_IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9-]*")


class _Declared(NamedTuple):
    """One interface as written: its two names, its value, the keys that lead to it."""

    namespace: str
    interface: str
    value: object
    keys: tuple[str, ...]


def read_imports(table: Table | None) -> tuple[Import, ...]:
    """The interfaces the capsule wants.

    Raises:
        ManifestError: `E-IFACE-EMPTY`, `E-IFACE-TABLE`, `E-IFACE-SHAPE`, `E-IFACE-DUP`,
            `E-SEMVER-REQ`, `E-UNKNOWN`.
    """
    return () if table is None else tuple(_read_import(table, item) for item in _declared(table))


def read_exports(table: Table | None) -> tuple[Export, ...]:
    """The interfaces the capsule offers.

    Raises:
        ManifestError: As `read_imports`, with `E-SEMVER-VER` for a bad version.
    """
    return () if table is None else tuple(_read_export(table, item) for item in _declared(table))


def check_identifiers(root: Table, table: str, interfaces: Iterable[Import | Export]) -> None:
    """Refuse namespaces and interface names that are not lower-case identifiers.

    Raises:
        ManifestError: `E-NS` or `E-IFACE`.
    """
    for item in interfaces:
        for rule, kind, name in (
            ("E-NS", "namespace", item.namespace),
            ("E-IFACE", "interface name", item.interface),
        ):
            if _IDENTIFIER.fullmatch(name) is None:
                raise root.document.error(
                    rule,
                    f"invalid {kind} {name[:80]!r}",
                    at=_place(root, table, item),
                    hint="start with a lower-case letter; then lower-case letters, digits, hyphens",
                )


def _place(root: Table, table: str, item: Import | Export) -> KeyPath:
    declared = root.table(table)
    if declared is not None and item.name in declared:
        return (table, item.name)
    return (table, item.namespace, item.interface)


def _declared(table: Table) -> Iterator[_Declared]:
    """Every declaration of the table, flat or nested, in document order, each name once."""
    seen: set[tuple[str, str]] = set()
    for item in _spelled(table):
        name = (item.namespace, item.interface)
        if name in seen:
            raise table.error(
                "E-IFACE-DUP",
                f"interface {':'.join(name)[:80]!r} is declared twice",
                *item.keys,
                hint="keep one of the flat and the nested spelling",
            )
        seen.add(name)
        yield item


def _spelled(table: Table) -> Iterator[_Declared]:
    for key in table:
        value = table.raw(key)
        if ":" in key:
            namespace, _, interface = key.partition(":")
            if not namespace or not interface:
                raise table.error(
                    "E-IFACE-EMPTY",
                    f"empty namespace or interface in {key[:80]!r}",
                    key,
                    hint='write "namespace:interface"',
                )
            yield _Declared(namespace, interface, value, (key,))
        elif isinstance(value, dict):
            for interface, inner in value.items():
                yield _Declared(key, interface, inner, (key, interface))
        else:
            raise table.error(
                "E-IFACE-TABLE",
                f"expected table of interface declarations, found {type_name(value)}",
                key,
                hint=f'write "{key[:80]}:<interface>" = ..., or a table of interfaces',
            )


def _read_import(table: Table, item: _Declared) -> Import:
    optional = False
    text = item.value
    if isinstance(text, dict):
        entry = Table(table.document, text, at=table.place(*item.keys))
        entry.only(("version", "optional"))
        wanted = entry.raw("optional") if "optional" in entry else False
        if not isinstance(wanted, bool):
            raise _shape(table, item, "'optional' is not a boolean")
        text, optional = entry.raw("version"), wanted
    if not isinstance(text, str):
        raise _shape(table, item, "there is no version requirement")
    try:
        requirement = Requirement.parse(text)
    except ConfigError as error:
        raise table.error("E-SEMVER-REQ", error.message, *item.keys, hint=error.hint) from error
    return Import(item.namespace, item.interface, requirement, optional)


def _read_export(table: Table, item: _Declared) -> Export:
    text = item.value
    if isinstance(text, dict):
        entry = Table(table.document, text, at=table.place(*item.keys))
        entry.only(("version",))
        text = entry.raw("version")
    if not isinstance(text, str):
        raise _shape(table, item, "there is no version")
    try:
        version = Version.parse(text)
    except ConfigError as error:
        raise table.error("E-SEMVER-VER", error.message, *item.keys, hint=error.hint) from error
    return Export(item.namespace, item.interface, version)


def _shape(table: Table, item: _Declared, reason: str) -> ConfigError:
    return table.error(
        "E-IFACE-SHAPE",
        f"{item.namespace[:80]}:{item.interface[:80]} is neither a text nor a table with"
        f" 'version': {reason}",
        *item.keys,
        hint='write "1.0" or { version = "1.0" }',
    )
