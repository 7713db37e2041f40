"""Checks for secret stores: what is kept, what is never shown.

Spec: kernel-and-security 9.3, 9.4; `astrid_hookspecs.secrets`.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from astrid_conformance.check import CheckList, in_threads, require, require_equal
from astrid_hookspecs.errors import SecretError
from astrid_hookspecs.secrets import SecretStore

SCOPE: Final = "ada/note-keeper"
HOST: Final = "__host__/note-keeper"
_SCOPES: Final = (SCOPE, HOST, "bob/note-keeper", "ada/other")
_LARGEST: Final = 65536


@dataclass(frozen=True)
class SecretSubject:
    """A secret store to check.

    Attributes:
        store: The store.
        factory: Of the record.
        directory: What the factory got.
    """

    store: SecretStore
    factory: Callable[[Path], SecretStore]
    directory: Path


@contextlib.contextmanager
def secret_subject(
    factory: Callable[[Path], SecretStore], directory: Path
) -> Iterator[SecretSubject]:
    """A subject for one check; what the check left in the store is removed afterwards."""
    store = factory(directory)
    try:
        yield SecretSubject(store, factory, directory)
    finally:
        for scope in _SCOPES:
            with contextlib.suppress(SecretError):
                for name in store.names(scope):
                    store.delete(scope, name)


SECRET_STORE: Final = CheckList[SecretSubject]()


@SECRET_STORE.required
def absent_is_none(subject: SecretSubject) -> None:
    """An absent secret is None, and removing it returns False."""
    store = subject.store
    require_equal(store.get(SCOPE, "API_KEY"), None, "get of an absent secret")
    require_equal(store.delete(SCOPE, "API_KEY"), False, "delete of an absent secret")
    require_equal(store.names(SCOPE), [], "names of an empty scope")


@SECRET_STORE.required
def values_come_back_unchanged(subject: SecretSubject) -> None:
    """1 to 65536 bytes of any kind come back as they were, line ends included."""
    store = subject.store
    values = [b"x", b"line\n", b"\r\n", bytes(range(256)), b"\0", b" x ", b"x" * _LARGEST]
    for value in values:
        store.set(SCOPE, "KEY", value)
        require_equal(store.get(SCOPE, "KEY"), value, f"a secret of {len(value)} bytes")


@SECRET_STORE.required
def set_replaces_and_delete_removes(subject: SecretSubject) -> None:
    """The last value counts, and a removed secret is gone."""
    store = subject.store
    store.set(SCOPE, "KEY", b"a long first value")
    store.set(SCOPE, "KEY", b"short")
    require_equal(store.get(SCOPE, "KEY"), b"short", "get after a second set")
    require_equal(store.delete(SCOPE, "KEY"), True, "delete")
    require_equal(store.get(SCOPE, "KEY"), None, "get after delete")
    require_equal(store.delete(SCOPE, "KEY"), False, "second delete")


@SECRET_STORE.required
def scopes_never_meet(subject: SecretSubject) -> None:
    """A secret of one scope cannot be read, listed or removed through another."""
    store = subject.store
    for scope in _SCOPES:
        store.set(scope, "KEY", scope.encode())
    for scope in _SCOPES:
        require_equal(store.get(scope, "KEY"), scope.encode(), f"the secret of {scope}")
        require_equal(store.names(scope), ["KEY"], f"names of {scope}")
    store.delete(SCOPE, "KEY")
    require_equal(store.get(HOST, "KEY"), HOST.encode(), "another scope after delete")


@SECRET_STORE.required
def names_are_sorted(subject: SecretSubject) -> None:
    """`names` lists each name once, ascending."""
    store = subject.store
    for name in ("B", "a", "A1", "A"):
        store.set(SCOPE, name, b"x")
    store.set(SCOPE, "A", b"y")
    require_equal(store.names(SCOPE), ["A", "A1", "B", "a"], "names")


@SECRET_STORE.required
def hostile_names_stay_in_their_scope(subject: SecretSubject) -> None:
    """A name with dots, slashes or odd characters is kept as it is or refused, and touches no
    other scope and no file outside the directory."""
    store = subject.store
    store.set(HOST, "KEY", b"host")
    outside = set(subject.directory.parent.iterdir())
    for name in (".", "..", "../../__host__/note-keeper/KEY", "a/b", "a=b", "Zürich", "x" * 255):
        try:
            store.set(SCOPE, name, b"evil")
        except SecretError:
            continue
        require_equal(store.get(SCOPE, name), b"evil", f"the secret called {name[:30]!r}")
        require(name in store.names(SCOPE), f"{name[:30]!r} is not among the names")
    require_equal(store.get(HOST, "KEY"), b"host", "the secret of another scope")
    require_equal(store.names(HOST), ["KEY"], "the names of another scope")
    require_equal(set(subject.directory.parent.iterdir()), outside, "files outside the directory")


@SECRET_STORE.required
def secrets_are_never_shown(subject: SecretSubject) -> None:
    """Neither `repr` nor an error shows a secret."""
    store = subject.store
    secret = b"correct-horse-battery-staple"
    store.set(SCOPE, "KEY", secret)
    texts = [repr(store), str(store), repr(vars(store)) if hasattr(store, "__dict__") else ""]
    try:
        store.set(SCOPE, "KEY\n\0", secret + b"x" * _LARGEST)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not show the secret
        texts.extend((repr(error), str(error)))
    for text in texts:
        require("battery" not in text, "a secret is shown in a repr or an error")


@SECRET_STORE.required
def files_are_private(subject: SecretSubject) -> None:
    """Whatever lies in the directory can be read by its owner only."""
    subject.store.set(SCOPE, "KEY", b"secret")
    for path in subject.directory.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        require(mode & 0o077 == 0, f"{path.name} has mode {mode:04o}")


@SECRET_STORE.required
def a_new_store_finds_the_secrets(subject: SecretSubject) -> None:
    """A store opened later on the same directory has the same secrets."""
    subject.store.set(SCOPE, "KEY", b"kept")
    again = subject.factory(subject.directory)
    require_equal(again.get(SCOPE, "KEY"), b"kept", "a secret after opening again")
    require_equal(again.names(SCOPE), ["KEY"], "names after opening again")


@SECRET_STORE.required
def threads_may_share_it(subject: SecretSubject) -> None:
    """Writers at the same time neither fail nor lose or mix secrets."""
    store = subject.store

    def write(mine: str) -> None:
        for number in range(20):
            value = f"{mine}{number}".encode() * 50
            store.set(SCOPE, mine, value)
            require_equal(store.get(SCOPE, mine), value, "a secret that another thread may touch")
            shared = f"{mine}".encode() * 500
            store.set(SCOPE, "SHARED", shared)
            found = store.get(SCOPE, "SHARED") or b""
            require(len(found) == len(shared) and len(set(found)) == 1, "two values were mixed")

    in_threads(*[lambda mine=mine: write(mine) for mine in "ABCD"])
    require_equal(store.names(SCOPE), ["A", "B", "C", "D", "SHARED"], "names after the race")
