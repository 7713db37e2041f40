"""What may be inside a capsule archive or source tree: names, kinds, numbers and sizes.

Trusted with refusing whatever could leave the target directory, shadow another entry or exhaust
the machine. Pure: it sees names and sizes, never content, and decides before anything is written.
Spec: capsules-and-bus 2.3; cli-and-ux T-26.
"""

from __future__ import annotations

import unicodedata
from typing import Final, Literal, NamedTuple

from astrid_hookspecs.errors import ArchiveError

MIB: Final = 1024 * 1024
MANIFEST: Final = "Capsule.toml"

_RESERVED_AT_ROOT: Final = {"meta.json", ".env.json"}
"""Written by the installer or the operator; an author who ships them would forge their word."""

_DEVICE_NAMES: Final = {"con", "prn", "aux", "nul"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789"
}
EntryKind = Literal["file", "directory"]


class ArchiveLimits(NamedTuple):
    """Bounds of one archive or source tree.

    Attributes:
        members: Entries, directories included.
        member_bytes: Size of one file.
        total_bytes: Sum of the sizes; also bounds what decompression may produce.
        ratio: Decompressed bytes per compressed byte, beyond the first `ratio_free_bytes`.
        ratio_free_bytes: Output that may be produced whatever the ratio.
        path_bytes: Length of a whole name in UTF-8.
        part_bytes: Length of one part of a name in UTF-8.
        depth: Parts of a name.
    """

    members: int = 10_000
    member_bytes: int = 64 * MIB
    total_bytes: int = 256 * MIB
    ratio: int = 200
    ratio_free_bytes: int = 4 * MIB
    path_bytes: int = 512
    part_bytes: int = 255
    depth: int = 16


DEFAULT_LIMITS: Final = ArchiveLimits()


def refuse(entry: str | None, rule: str, reason: str, *, hint: str | None = None) -> ArchiveError:
    """The error for a refused entry, or for the whole archive where `entry` is None.

    The name is escaped and shortened: it comes from the archive and goes to a terminal.
    """
    if entry is None:
        message = reason
    else:
        shown = ascii(entry if len(entry) <= 120 else entry[:117] + "...")  # noqa: PLR2004 - layout
        message = f"entry {shown} {reason}"
    return ArchiveError(message, code=f"capsule.archive.{rule}", hint=hint)


def check_name(name: str, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> tuple[str, ...]:
    """Check an entry name and split it.

    One leading `./` and one trailing `/` are dropped, as common packers write them.

    Returns:
        The parts; empty for the root itself.

    Raises:
        ArchiveError: `capsule.archive.name-*`, naming the entry and the rule.
    """
    if name in {".", "./"}:
        return ()
    relative = name.removeprefix("./").removesuffix("/")
    if name.startswith("/") or relative.startswith("/"):
        raise refuse(name, "name-absolute", "has an absolute name")
    if not relative:
        raise refuse(name, "name-empty", "has an empty name")
    _check_characters(name, relative)
    if len(relative.encode()) > limits.path_bytes:
        raise refuse(name, "name-too-long", f"is longer than {limits.path_bytes} bytes")
    parts = tuple(relative.split("/"))
    if len(parts) > limits.depth:
        raise refuse(name, "name-too-deep", f"is nested deeper than {limits.depth} levels")
    for part in parts:
        _check_part(name, part, limits)
    if parts[0].casefold() in _RESERVED_AT_ROOT:
        raise refuse(name, "name-reserved", "has a name that is reserved for the installer")
    return parts


def _check_characters(name: str, relative: str) -> None:
    if "\\" in relative:
        raise refuse(name, "name-backslash", "contains a backslash")
    if ":" in relative:
        raise refuse(name, "name-drive", "contains a colon, as drive letters and streams do")
    for character in relative:
        if not character.isprintable():  # also format, private and unassigned characters
            raise refuse(
                name,
                "name-control",
                f"contains the control or invisible character U+{ord(character):04X}",
            )


def _check_part(name: str, part: str, limits: ArchiveLimits) -> None:
    if part == "..":
        raise refuse(name, "name-parent", "contains a `..` part")
    if part in {"", "."}:
        raise refuse(name, "name-dot", "contains an empty or `.` part")
    if len(part.encode()) > limits.part_bytes:
        raise refuse(name, "name-too-long", f"has a part longer than {limits.part_bytes} bytes")
    if part[-1] in ". ":
        raise refuse(name, "name-trailing", "has a part that ends with a dot or a space")
    if part.partition(".")[0].rstrip().casefold() in _DEVICE_NAMES:
        raise refuse(name, "name-reserved", "has the name of a device on some systems")


def fold_name(part: str) -> str:
    """The form in which two names count as one: what any common file system might merge."""
    folded = unicodedata.normalize("NFD", part).casefold()
    return unicodedata.normalize("NFC", folded)


class _Node(NamedTuple):
    path: str
    kind: EntryKind
    is_explicit: bool


class EntryLedger:
    """Admits the entries of one archive, one after the other, and keeps the account.

    Args:
        limits: Bounds to keep.
    """

    def __init__(self, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._nodes: dict[tuple[str, ...], _Node] = {}
        self._members = 0
        self._total = 0
        self._has_manifest = False

    def admit(self, name: str, *, kind: EntryKind, size: int = 0) -> tuple[str, ...]:
        """Check one entry before it is written.

        Args:
            name: As the archive spells it.
            kind: What the entry would become.
            size: Bytes of content, not negative.

        Returns:
            The parts of the path to create; empty for the root.

        Raises:
            ArchiveError: `capsule.archive.<rule>`, naming the entry.
        """
        parts = check_name(name, limits=self._limits)
        self._charge(name, size)
        if kind == "file" and (not parts or name.endswith("/")):
            raise refuse(name, "name-dot", "is a file with the name of a directory")
        if not parts:
            return parts
        for depth in range(1, len(parts)):
            self._claim(name, parts[:depth], "directory", is_explicit=False)
        self._claim(name, parts, kind, is_explicit=True)
        if parts == (MANIFEST,) and kind == "file":
            self._has_manifest = True
        return parts

    def finish(self) -> None:
        """Check what only the whole shows.

        Raises:
            ArchiveError: `capsule.archive.manifest-missing`.
        """
        if not self._has_manifest:
            raise refuse(
                None,
                "manifest-missing",
                f"{MANIFEST} is a directory, not a file"
                if (fold_name(MANIFEST),) in self._nodes
                else f"there is no {MANIFEST} at the top level",
                hint="pack the capsule with `astrid capsule build`",
            )

    def _charge(self, name: str, size: int) -> None:
        limits = self._limits
        self._members += 1
        if self._members > limits.members:
            raise refuse(
                name, "too-many-members", f"is one more than the {limits.members} entries allowed"
            )
        if size > limits.member_bytes:
            raise refuse(
                name,
                "member-too-large",
                f"has {size} bytes, more than the {limits.member_bytes} allowed for one file",
            )
        self._total += size
        if self._total > limits.total_bytes:
            raise refuse(
                name,
                "too-large",
                f"takes the content beyond the {limits.total_bytes} bytes allowed",
            )

    def _claim(
        self, name: str, parts: tuple[str, ...], kind: EntryKind, *, is_explicit: bool
    ) -> None:
        path = "/".join(parts)
        key = tuple(map(fold_name, parts))
        known = self._nodes.get(key)
        if known is None:
            self._nodes[key] = _Node(path, kind, is_explicit)
            return
        if known.path != path:
            raise refuse(
                name,
                "name-collision",
                f"differs from {known.path!a} only by case or Unicode form",
            )
        if known.kind != kind:
            raise refuse(name, "file-as-directory", f"makes {path!a} both file and directory")
        if is_explicit and known.is_explicit:
            if path == MANIFEST:
                raise refuse(name, "two-manifests", "appears twice; an archive has one manifest")
            raise refuse(name, "name-duplicate", "appears twice")
        if is_explicit:
            self._nodes[key] = _Node(path, kind, is_explicit=True)
