"""`meta.json`: what the installer recorded about a capsule, and the seal over it.

Trusted with the answer to "is this what the operator agreed to?". The record covers the component,
the interface texts and, through `tree_hash`, the manifest and every other file. The seal is a keyed
BLAKE3 that only this home can make, so a capsule that can write to its principal's home, or a
repository that brings an `.astrid/capsules` directory along, cannot install anything by itself.
Pure: bytes and keys in, a model or a refusal out. Spec: capsules-and-bus 2.6.
"""

from __future__ import annotations

import hmac
import re
from typing import Any, Final, Literal

import msgspec
from blake3 import blake3

from astrid_core.domain.json_size import json_size
from astrid_hookspecs.errors import CapsuleError, IntegrityError

META_LIMIT: Final = 8 * 1024 * 1024
TOOLS_LIMIT: Final = 1024 * 1024
_INDENTED: Final = 64 * 1024

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_REINSTALL: Final = "install the capsule again with `astrid capsule install`"


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Strict: a record with a key we do not know was not written by us."""


class BakedTopic(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """One `[[topic]]` with its schema resolved at installation.

    Attributes:
        schema: JSON Schema, or None.
    """

    name: str
    direction: Literal["publish", "subscribe"]
    description: str | None = None
    schema: Any = None


class ToolDescription(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """A tool as the builder described it, so that it can be shown without running the capsule.

    Attributes:
        input_schema: JSON Schema of the arguments; None when only the name is known.
    """

    name: str
    description: str = ""
    input_schema: dict[str, Any] | None = None


class CapsuleMeta(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """The record of one installation.

    Attributes:
        version: Of the capsule, as in its manifest.
        installed_at: RFC 3339, UTC; kept across upgrades.
        updated_at: RFC 3339, UTC.
        tree_hash: BLAKE3 over all files of the installed directory but `meta.json`.
        source: What the operator typed, where it names a place to update from.
        imports: Requirements by namespace and interface, normalised.
        exports: Versions by namespace and interface.
        topics: Documented topics.
        wasm_hash: BLAKE3 of the component; None for a capsule without one.
        wit_files: BLAKE3 of each interface text by its path below `wit/`.
        tools: What it offers to agents.
        seal: Keyed BLAKE3 over all of the above; empty before `seal_meta`.
    """

    version: str
    installed_at: str
    updated_at: str
    tree_hash: str
    source: str | None = None
    imports: dict[str, dict[str, str]] = {}
    exports: dict[str, dict[str, str]] = {}
    topics: list[BakedTopic] = []
    wasm_hash: str | None = None
    wit_files: dict[str, str] = {}
    tools: list[ToolDescription] = []
    seal: str = ""


class _ToolsFile(msgspec.Struct, frozen=True):
    """`tools.json`; keys that later builders add are ignored."""

    tools: list[_ToolEntry]


class _ToolEntry(msgspec.Struct, frozen=True):
    name: str
    description: str = ""
    input_schema: dict[str, Any] | None = None


_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def _seal(meta: CapsuleMeta, name: str, key: bytes) -> str:
    # The name is covered so that one capsule's record cannot stand for another.
    unsealed = msgspec.structs.replace(meta, seal="")
    return blake3(_ENCODER.encode([name, unsealed]), key=key).hexdigest()


def seal_meta(meta: CapsuleMeta, *, name: str, key: bytes) -> CapsuleMeta:
    """The record with its seal.

    Args:
        meta: A complete record.
        name: Capsule id it belongs to.
        key: 32 bytes, secret to this home.
    """
    return msgspec.structs.replace(meta, seal=_seal(meta, name, key))


def encode_meta(meta: CapsuleMeta) -> bytes:
    """The text of `meta.json`: JSON with a final newline, indented unless it is long.

    Raises:
        CapsuleError: `capsule.record`: it is larger than `META_LIMIT`, and could not be read again.
    """
    data = _ENCODER.encode(meta)
    if len(data) <= _INDENTED:  # what nests deeply grows a hundredfold by it
        data = msgspec.json.format(data, indent=2)
    if len(data) >= META_LIMIT:
        raise CapsuleError(
            f"the record of the capsule would be larger than {META_LIMIT} bytes",
            code="capsule.record",
            hint="shorten the descriptions and schemas of its topics and tools, or their number",
        )
    return data + b"\n"


def parse_meta(data: bytes, *, name: str, key: bytes) -> CapsuleMeta:
    """Read `meta.json` and check its form and its seal.

    Args:
        data: Content of the file.
        name: Capsule id it must belong to.
        key: As for `seal_meta`.

    Raises:
        IntegrityError: `integrity.meta`: not JSON, a wrong type, an unknown or missing key, a
            malformed hash; `integrity.seal`: changed after the installation or made elsewhere.
    """
    if len(data) > META_LIMIT:
        raise _broken(name, f"is larger than {META_LIMIT} bytes")
    try:
        meta = msgspec.json.decode(data, type=CapsuleMeta)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(name, f"cannot be read: {error}") from error
    for digest in (meta.tree_hash, meta.wasm_hash, meta.seal, *meta.wit_files.values()):
        if digest is not None and not _HEX.fullmatch(digest):
            raise _broken(name, f"has a malformed hash {digest[:80]!a}")
    if not hmac.compare_digest(meta.seal, _seal(meta, name, key)):
        raise IntegrityError(
            f"meta.json of capsule {name!r} was changed, or the capsule was not installed here",
            code="integrity.seal",
            hint=_REINSTALL,
        )
    return meta


def _broken(name: str, problem: str) -> IntegrityError:
    return IntegrityError(
        f"meta.json of capsule {name!r} {problem}", code="integrity.meta", hint=_REINSTALL
    )


def parse_tools(data: bytes) -> list[ToolDescription]:
    """Read the builder's `tools.json`: an object with the list `tools`.

    Raises:
        CapsuleError: `capsule.tools`; too large, nested too deeply, no such object, or a name
            appears twice.
    """
    if len(data) > TOOLS_LIMIT:
        raise CapsuleError(f"tools.json is larger than {TOOLS_LIMIT} bytes", code="capsule.tools")
    try:
        entries = msgspec.json.decode(data, type=_ToolsFile).tools
        for entry in entries:
            json_size(entry.input_schema, most=META_LIMIT)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CapsuleError(f"tools.json cannot be read: {error}", code="capsule.tools") from error
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        raise CapsuleError("tools.json describes a tool twice", code="capsule.tools")
    return [
        ToolDescription(
            name=entry.name, description=entry.description, input_schema=entry.input_schema
        )
        for entry in entries
    ]
