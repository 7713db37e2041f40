"""The database of a store: opening it for one process, its format, and what it says.

Trusted with the changes that nobody has committed yet. What cannot be read is refused as a whole;
nothing is repaired by leaving things out, and nothing is deleted.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Any, Final

from astrid_hookspecs.errors import IntegrityError, StoreError, VfsError

_NAME: Final = "overlay.db"
_APPLICATION_ID: Final = 0x41564F31
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE nodes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    mode INTEGER NOT NULL,
    lower TEXT,
    target TEXT NOT NULL,
    modified_ns INTEGER
);
CREATE TABLE entries (
    parent INTEGER NOT NULL REFERENCES nodes (id),
    name TEXT NOT NULL,
    node INTEGER REFERENCES nodes (id),
    PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE TABLE bases (
    path TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    mode INTEGER NOT NULL,
    stamp TEXT NOT NULL,
    digest BLOB
) WITHOUT ROWID;
CREATE TABLE journal (
    path TEXT PRIMARY KEY,
    token TEXT NOT NULL,
    old BLOB,
    new BLOB,
    overwrite INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO nodes (id, kind, mode, lower, target) VALUES (1, 'directory', 493, '', '');
"""
_LOCKED_HINT: Final = "stop the other process first"
_DAMAGED_HINT: Final = "restore the store from a backup, or move it away and lose its changes"


class Database:
    """One connection, for one process. The caller serialises its use.

    Args:
        directory: The store; exists, mode 0700.

    Raises:
        StoreError: `overlay.busy`: another process, or another overlay of this one, has it open;
            `overlay.newer`: a later release wrote it; `overlay.store`: it cannot be opened.
        IntegrityError: `overlay.damaged`: it is no store, or no longer one.
    """

    def __init__(self, directory: Path) -> None:
        self.durable = False
        self._lock = _lock(directory)
        try:
            self._db = _connect(directory)
        except BaseException:
            os.close(self._lock)
            raise

    def execute(self, sql: str, *values: object) -> None:
        """Run one statement.

        Raises:
            VfsError: `vfs.quota` for a full disk, otherwise `vfs.failed`.
            IntegrityError: `overlay.damaged`.
        """
        with _TypedErrors():
            self._db.execute(sql, values)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """As `execute`, with what the statement answers."""
        with _TypedErrors():
            return self._db.execute(sql, values).fetchall()

    def begin(self, *, durable: bool) -> None:
        """Start a transaction.

        Args:
            durable: Whether its end waits for the disk.
        """
        if durable is not self.durable:
            self.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self.durable = durable
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction."""
        self.execute("COMMIT")

    def abort(self) -> None:
        """Take the transaction back."""
        if self._db.in_transaction:
            self.execute("ROLLBACK")

    def flush(self) -> None:
        """Make every transaction durable."""
        self.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Release the files; closing twice is not an error."""
        self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class _TypedErrors:
    """Gives errors of the database their type."""

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError):
            if "decode" in str(error):  # what the binding says about a text that is not UTF-8
                raise damaged("a text is none") from error
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise VfsError("the disk is full", code="vfs.quota") from error
            raise VfsError("the overlay's store does not answer") from error
        if isinstance(error, sqlite3.DatabaseError):
            raise damaged(f"{str(error)!a}") from error


def damaged(reason: str) -> IntegrityError:
    """The error for a store that does not hold together."""
    return IntegrityError(
        f"the overlay's store is damaged: {reason}", code="overlay.damaged", hint=_DAMAGED_HINT
    )


def _lock(directory: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(directory / "lock", flags, 0o600)
    except OSError as error:
        raise _unusable(error.strerror) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreError(
            "the overlay's store is in use", code="overlay.busy", hint=_LOCKED_HINT
        ) from error
    return lock


def _connect(directory: Path) -> sqlite3.Connection:
    path = directory / _NAME
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        raise _unusable(error.strerror) from error
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db)
    except sqlite3.OperationalError as error:
        db.close()
        raise _unusable(str(error)) from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # The second comes from the binding, for a message that quotes a damaged name.
        db.close()
        raise damaged(f"{str(error)!a}") from error
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (version, application, tables) == (0, 0, 0):
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    elif application != _APPLICATION_ID:
        raise damaged(f"{_NAME} belongs to another application")
    elif version != _SCHEMA_VERSION:
        raise StoreError(
            f"the overlay's store has format {version}; this release reads {_SCHEMA_VERSION}",
            code="overlay.newer",
            hint="use the release that wrote it",
        )
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise damaged(str(verdict))
    db.execute("COMMIT")


def _unusable(reason: str | None) -> StoreError:
    return StoreError(
        f"the overlay's store cannot be opened: {reason}",
        code="overlay.store",
        hint="look at the permissions and the free space of the store's directory",
    )
