"""The tables of a manifest, read one by one into the model.

Trusted with types, required keys and enum spellings (step 2 of the validation order); what the
values mean together is checked by `manifest_validate`. Every function raises `ManifestError` with
`E-TOML` or `E-UNKNOWN`. Spec: capsules-and-bus 1.4 and 1.7 to 1.9.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from datetime import date, time
from typing import Any, Final, get_args

from astrid_core.domain.manifest_entries import (
    Command,
    CommandKind,
    ContextFile,
    EnvField,
    McpServer,
    Skill,
    Tool,
    Uplink,
    UplinkProfile,
)
from astrid_core.domain.manifest_model import (
    CAPABILITY_FLAGS,
    CAPABILITY_LISTS,
    Capabilities,
    Component,
)
from astrid_core.domain.toml_table import Table

_HASH: Final = re.compile(r"(?:blake3:)?([0-9A-Fa-f]{64})")
_PROFILES: Final[tuple[UplinkProfile, ...]] = get_args(UplinkProfile)
_KINDS: Final[tuple[CommandKind, ...]] = get_args(CommandKind)


def read_components(tables: Iterable[Table]) -> tuple[Component, ...]:
    """`[[component]]`; `entrypoint` is an older name of `file`.

    Raises:
        ManifestError: `E-HASH` for a hash that is none.
    """
    out = []
    for table in tables:
        table.only(("file", "entrypoint", "id", "hash", "type", "link", "capabilities"))
        if "file" in table and "entrypoint" in table:
            raise table.error("E-TOML", "'file' is given twice, once as 'entrypoint'", "entrypoint")
        capabilities = table.table("capabilities")
        out.append(
            Component(
                file=table.text("entrypoint") or table.need_text("file"),
                id=table.text("id") or "",
                hash=_read_hash(table),
                type=table.text("type") or "",
                link=table.texts("link") or (),
                capabilities=read_capabilities(capabilities),
            )
        )
    return tuple(out)


def _read_hash(table: Table) -> str | None:
    text = table.text("hash")
    if text is None:
        return None
    found = _HASH.fullmatch(text)
    if found is None:
        raise table.error(
            "E-HASH",
            f"{text[:80]!r} is not a BLAKE3 hash",
            "hash",
            hint="write 64 hex digits, optionally after 'blake3:', or leave the key out",
        )
    return found[1].lower()


def read_capabilities(table: Table | None) -> Capabilities:
    """`[capabilities]`, of the root or of one component."""
    if table is None:
        return Capabilities()
    table.only((*CAPABILITY_LISTS, *CAPABILITY_FLAGS), later=("bind_workers",))
    values: dict[str, Any] = {name: table.texts(name) or () for name in CAPABILITY_LISTS}
    values |= {name: table.flag(name) or False for name in CAPABILITY_FLAGS}
    return Capabilities(**values)


def merge_capabilities(
    root: Table, own: Capabilities, components: tuple[Component, ...]
) -> Capabilities:
    """The root's capabilities with the lists of every component appended.

    Flags of a component are not taken over: a capability for the whole capsule that is hidden in
    one entry would be easy to miss. Every merged list and every flag left out is remarked upon.
    """
    merged: dict[str, Any] = {name: getattr(own, name) for name in CAPABILITY_LISTS}
    for index, component in enumerate(components):
        place = ("component", index, "capabilities")
        for name in CAPABILITY_LISTS:
            if extra := getattr(component.capabilities, name):
                merged[name] += extra
                message = f"{name} of a component applies to the whole capsule"
                root.document.warn("W-MERGED", message, at=(*place, name))
        for name in CAPABILITY_FLAGS:
            if getattr(component.capabilities, name):
                message = f"{name} has no effect in a component; set it in [capabilities]"
                root.document.warn("W-FLAG", message, at=(*place, name))
    return dataclasses.replace(own, **merged)


def read_env(table: Table | None) -> tuple[EnvField, ...]:
    """`[env.KEY]` tables."""
    if table is None:
        return ()
    out = []
    for key in table:
        entry = table.need_table(key)
        entry.only(
            ("type", "request", "description", "placeholder", "default", "enum_values"),
            later=("scope", "options_from"),
        )
        request = entry.text("request")
        field = EnvField(
            key=key,
            type=entry.need_text("type"),
            request=f"Please enter value for {key}" if request is None else request,
            description=entry.text("description"),
            placeholder=entry.text("placeholder"),
            default=_text_form(entry.raw("default")),
            enum_values=entry.texts("enum_values") or (),
        )
        out.append(field)
    return tuple(out)


def _text_form(value: object) -> str | None:
    """A string as it is, other values as compact JSON with sorted keys; dates as their text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, date | time):
        return value.isoformat()
    return json.dumps(
        value,
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
        default=lambda moment: moment.isoformat(),
    )


def read_mcp_servers(tables: Iterable[Table]) -> tuple[McpServer, ...]:
    """`[[mcp_server]]`."""
    out = []
    for table in tables:
        table.only(
            ("id", "description", "type", "command", "args", "url", "env", "bearer", "shared")
        )
        server = McpServer(
            id=table.need_text("id"),
            type=table.text("type"),
            command=table.text("command"),
            args=table.texts("args") or (),
            description=table.text("description"),
            url=table.text("url"),
            env=table.texts("env"),
            bearer=table.text("bearer"),
            shared=table.flag("shared") or False,
        )
        out.append(server)
    return tuple(out)


def read_uplinks(tables: Iterable[Table]) -> tuple[Uplink, ...]:
    """`[[uplink]]`; the platform is normalised as the registry would do it."""
    out = []
    for table in tables:
        table.only(("name", "platform", "profile"))
        platform = table.need_text("platform").strip().lower()
        profile = table.need_choice("profile", _PROFILES)
        out.append(Uplink(table.need_text("name"), platform, profile))
    return tuple(out)


def read_commands(tables: Iterable[Table]) -> tuple[Command, ...]:
    """`[[command]]`."""
    out = []
    for table in tables:
        table.only(("name", "description", "file", "kind"))
        command = Command(
            name=table.need_text("name"),
            description=table.text("description"),
            file=table.text("file"),
            kind=table.choice("kind", _KINDS) or "slash",
        )
        out.append(command)
    return tuple(out)


def read_context_files(tables: Iterable[Table]) -> tuple[ContextFile, ...]:
    """`[[context_file]]`."""
    out = []
    for table in tables:
        table.only(("name", "file"))
        out.append(ContextFile(table.need_text("name"), table.need_text("file")))
    return tuple(out)


def read_skills(tables: Iterable[Table]) -> tuple[Skill, ...]:
    """`[[skill]]`."""
    out = []
    for table in tables:
        table.only(("name", "file", "description"))
        name, file = table.need_text("name"), table.need_text("file")
        out.append(Skill(name, file, table.text("description")))
    return tuple(out)


def read_tools(tables: Iterable[Table]) -> tuple[Tool, ...]:
    """`[[tool]]`."""
    out = []
    for table in tables:
        table.only(("name", "description_for_llm", "input_schema_wit", "mutable"))
        tool = Tool(
            name=table.need_text("name"),
            description_for_llm=table.need_text("description_for_llm"),
            input_schema_wit=table.text("input_schema_wit"),
            mutable=table.flag("mutable") or False,
        )
        out.append(tool)
    return tuple(out)
