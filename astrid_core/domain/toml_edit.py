"""Changes to TOML files that people also edit by hand: comments and order stay as they are.

Pure text in, text out. What comes out is checked by the reader of the file's kind before it is
written; nothing here knows what the keys mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tomlkit
from tomlkit.container import Container
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, AoT

from astrid_hookspecs.errors import ConfigError

TomlValue = bool | int | str | Sequence[str]


def set_keys(
    text: str, changes: Mapping[str, TomlValue | None], *, table: Sequence[str] = ()
) -> str:
    """Set keys of one table, and remove those whose new value is None.

    Args:
        text: The document.
        changes: By key of the table.
        table: Path to the table; it is made when it is missing and something is to be set.

    Returns:
        The document with these changes and no others.

    Raises:
        ConfigError: `config.edit`; the text cannot be read, or something else has the table's
            name.
    """
    document = _parsed(text)
    target: Container | AbstractTable = document
    for name in table:
        if name not in target:
            if all(value is None for value in changes.values()):
                return text
            target.add(name, tomlkit.table(is_super_table=name != table[-1]))
        inner = target[name]
        if not isinstance(inner, AbstractTable):
            raise _unusable(f"{name!r} is written in a form that cannot be changed here")
        target = inner
    for key, value in changes.items():
        if value is not None:
            _set(target, key, value)
        elif key in target:
            target.remove(key)
    return tomlkit.dumps(document)


def remove_table(text: str, table: Sequence[str]) -> str:
    """Remove a table with everything in it; a missing one is no error.

    Raises:
        ConfigError: As `set_keys`.
    """
    document = _parsed(text)
    target: Container | AbstractTable = document
    for name in table[:-1]:
        inner = target.get(name)
        if not isinstance(inner, AbstractTable):
            return text
        target = inner
    if table[-1] in target:
        target.remove(table[-1])
    return tomlkit.dumps(document)


def _set(target: Container | AbstractTable, key: str, value: TomlValue) -> None:
    if isinstance(value, str | bool | int):
        item = tomlkit.item(value)
    else:
        item = tomlkit.array()
        item.extend(value)
    if key in target or isinstance(target, AbstractTable):
        target[key] = item
        return
    place = _end_of_keys(target)
    if place is None:
        target.add(key, item)
    else:
        target._insert_at(place, key, item)  # noqa: SLF001 - no public way


def _end_of_keys(document: Container) -> int | None:
    """Behind the last plain key, else before the first table: below it, a key would be its own."""
    plain, tables = 0, len(document.body)
    for index, (key, item) in enumerate(document.body):
        if key is None:
            continue
        if isinstance(item, AbstractTable | AoT):
            tables = min(tables, index)
        else:
            plain = index + 1
    if tables == len(document.body):
        return None
    return plain or tables


def _parsed(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise _unusable(f"the file is no TOML document: {error}") from error


def _unusable(reason: str) -> ConfigError:
    return ConfigError(reason, code="config.edit", hint="change the file in an editor")
