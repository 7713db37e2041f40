"""The file behind the default key-value store: opening, format, ranges of keys."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Final

from astrid_hookspecs.errors import StoreError

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE namespaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL);
CREATE TABLE entries (
    namespace INTEGER NOT NULL REFERENCES namespaces (id),
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (namespace, key)
);
"""
_PREFIX_RANGE: Final = "namespace = ? AND key >= ? AND (? IS NULL OR key < ?)"
_SURROGATES: Final = range(0xD800, 0xE000)


def open_database(path: Path) -> sqlite3.Connection:
    """Open or create the database, for this process alone.

    Args:
        path: Database file; created with mode 0600, a symbolic link is refused.

    Raises:
        StoreError: Damaged, of another format, in use, or not accessible.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        raise StoreError(f"{path.name} cannot be opened: {error.strerror}") from error
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path.name)
    except sqlite3.OperationalError as error:
        db.close()
        if "locked" in str(error):
            raise StoreError(
                f"{path.name} is in use by another process", hint="stop the other one first"
            ) from error
        raise StoreError(f"{path.name} cannot be opened: {error}") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # The second comes from the binding, for a message that quotes a damaged name.
        db.close()
        raise StoreError(
            f"{path.name} is damaged: {str(error)!a}", hint="move it away or restore a backup"
        ) from error
    except StoreError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, name: str) -> None:
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    elif version != _SCHEMA_VERSION:
        raise StoreError(
            f"{name} has format {version}; this release reads {_SCHEMA_VERSION}",
            hint="use the release that wrote it",
        )
    db.execute("COMMIT")


def first_keys(
    db: sqlite3.Connection, namespace: int, prefix: str, *, after: str | None, limit: int
) -> list[str]:
    """The first keys with a prefix, ascending.

    Args:
        db: The database.
        namespace: Its number.
        prefix: Of the keys.
        after: Only keys behind this one.
        limit: How many at most.
    """
    end = prefix_end(prefix)
    rows = db.execute(
        f"SELECT key FROM entries WHERE {_PREFIX_RANGE} "  # noqa: S608 - a constant
        "AND (? IS NULL OR key > ?) ORDER BY key LIMIT ?",
        (namespace, prefix, end, end, after, after, limit),
    ).fetchall()
    return [row[0] for row in rows]


def delete_first(
    db: sqlite3.Connection, namespace: int, prefix: str, *, limit: int
) -> list[tuple[str, int]]:
    """Remove the first keys with a prefix; arguments as for `first_keys`.

    Returns:
        The removed keys, and the length of each value.
    """
    end = prefix_end(prefix)
    return db.execute(
        f"DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE {_PREFIX_RANGE} "  # noqa: S608 - a constant
        "ORDER BY key LIMIT ?) RETURNING key, length(value)",
        (namespace, prefix, end, end, limit),
    ).fetchall()


def prefix_end(prefix: str) -> str | None:
    """The first text that sorts after everything with the prefix; None when there is none."""
    points = [ord(character) for character in prefix]
    while points:
        if points[-1] < sys.maxunicode:
            points[-1] += 1
            if points[-1] in _SURROGATES:
                points[-1] = _SURROGATES.stop
            return "".join(map(chr, points))
        points.pop()
    return None
