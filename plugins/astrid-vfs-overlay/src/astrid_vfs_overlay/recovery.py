"""Cleaning up after a commit that a crash interrupted.

Trusted with a person's files: what it cannot explain it keeps under a visible name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.vfs_paths import temporary_name
from astrid_vfs_overlay.diff import Diff, upper_pieces
from astrid_vfs_overlay.journal import Entry, drop_entry, forget_entry, read_entries
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.lower import lower_digest, lower_pieces
from astrid_vfs_overlay.nodes import Place, find, join, parts, split

Fate = Literal["none", "remove", "put-back", "keep"]


def recover(layers: Layers) -> None:
    """Decide about every path of the journal.

    What the lower layer does not answer about stays in the journal until the next time.
    """
    for entry in read_entries(layers.db):
        recover_path(layers, entry)


def recover_path(layers: Layers, entry: Entry) -> None:
    """As `recover`, for one path."""
    with contextlib.suppress(AstridError):
        _recover(layers, entry)


def decide(
    entry: Entry, *, found: bytes | None, taken: bytes | None, is_partial: bool
) -> tuple[bool, Fate]:
    """What happened, and what becomes of the temporary.

    Args:
        entry: What was to happen.
        found: Digest of what is at the path; None: nothing is.
        taken: Digest of the temporary; None: there is none.
        is_partial: Whether the temporary is a beginning of the new content.

    Returns:
        Whether the change was made, and the fate of the temporary.
    """
    applied = found == entry.new
    if taken is None:
        return applied, "none"
    if entry.new is not None and (taken == entry.new or (is_partial and not applied)):
        return applied, "remove"
    if applied:
        if entry.overwrite or taken == entry.old:
            return True, "remove"
        return False, "put-back"
    if taken == entry.old:
        return False, "remove" if found is not None else "put-back"
    return False, "put-back" if found is None else "keep"


def _recover(layers: Layers, entry: Entry) -> None:
    lower = layers.lower
    temporary = join(split(entry.path)[0], temporary_name(entry.token))
    found = lower_digest(lower, entry.path)
    taken = lower_digest(lower, temporary)
    is_partial = taken is not None and _is_beginning(layers, entry, temporary)
    applied, fate = decide(entry, found=found, taken=taken, is_partial=is_partial)
    if fate == "remove":
        lower.unlink(temporary)
    elif fate == "put-back":
        lower.rename(temporary, entry.path)
    elif fate == "keep":
        lower.rename(temporary, f"{entry.path}.{entry.token}")
    if applied and _is_settled(layers, entry):
        drop_entry(layers, entry.path)
    else:
        forget_entry(layers, entry.path)


def _is_settled(layers: Layers, entry: Entry) -> bool:
    """Whether the lower layer now really has the path as the overlay shows it, mode included."""
    return Diff(layers).item(entry.path) is None


def _is_beginning(layers: Layers, entry: Entry, temporary: str) -> bool:
    """Whether the temporary is a beginning of the content that was being written."""
    try:
        place = find(layers.root, parts(entry.path))
        found = layers.lower.stat(temporary)
        if found.kind != "regular":
            return False
        content = _content(layers, place)
        return all(
            next(content, b"").startswith(piece) for piece in lower_pieces(layers.lower, temporary)
        )
    except AstridError:
        return False


def _content(layers: Layers, place: Place) -> Iterator[bytes]:
    if place.lower is not None:
        return lower_pieces(layers.lower, place.lower)
    if place.node is None or not place.node.has_content:
        return iter(())
    return upper_pieces(layers, place.node)
