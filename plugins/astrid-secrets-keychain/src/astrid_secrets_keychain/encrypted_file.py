"""Secrets in encrypted files: one per scope, names and values together.

Trusted with confidentiality and integrity: XSalsa20-Poly1305 over everything, the scope included,
so that a file of one scope cannot stand for another's. Names of files say nothing. What an attacker
with write access can do is to put an older file back, or to delete one.
Spec: kernel-and-security 9.4, D-61.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from astrid_hookspecs.errors import SecretError, SecretLockedError
from astrid_secrets_keychain.file_lock import FileLock, write_private
from astrid_secrets_keychain.names import check_place, check_value
from astrid_secrets_keychain.passphrase import key_of_passphrase, passphrase

KEY_BYTES: Final = 32
FOLDER: Final = "encrypted"
_MAGIC: Final = b"astsec\x00\x01"
_MAX_FILE: Final = 64 * 1024 * 1024
_HINT: Final = "put the file back from a copy, or delete it and set the secrets again"


class EncryptedFileStore:
    """Implements `astrid_hookspecs.secrets.SecretStore`.

    Args:
        directory: Created, mode 0700.
        key: Gives the 32 bytes; called at the first use, and again after it failed.

    Raises:
        SecretError: The directory cannot be made.
    """

    __slots__ = ("_directory", "_key", "_lock", "_make_key", "_making_key")

    def __init__(self, directory: Path, *, key: Callable[[], bytes]) -> None:
        self._directory = directory
        self._make_key = key
        self._key: bytes | None = None
        self._making_key = threading.Lock()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _failed("cannot be made", error) from error
        self._lock = FileLock(directory / "lock")

    def __repr__(self) -> str:
        return "EncryptedFileStore()"

    def get(self, scope: str, name: str) -> bytes | None:
        """As `SecretStore.get`."""
        check_place(scope, name)
        return self._read(scope).get(name)

    def set(self, scope: str, name: str, value: bytes) -> None:
        """As `SecretStore.set`."""
        check_place(scope, name)
        check_value(value)
        with self._lock.held_for("the store of secrets"):
            self._write(scope, {**self._read(scope), name: bytes(value)})

    def delete(self, scope: str, name: str) -> bool:
        """As `SecretStore.delete`."""
        check_place(scope, name)
        with self._lock.held_for("the store of secrets"):
            values = self._read(scope)
            if values.pop(name, None) is None:
                return False
            self._write(scope, values)
            return True

    def names(self, scope: str) -> list[str]:
        """As `SecretStore.names`."""
        check_place(scope)
        return sorted(self._read(scope))

    def _path(self, scope: str) -> Path:
        name = hashlib.blake2b(scope.encode(), key=self._opened_key(), digest_size=16)
        return self._directory / f"{name.hexdigest()}.box"

    def _opened_key(self) -> bytes:
        with self._making_key:  # once: a person is asked for it, or a lot of memory is used
            if self._key is None:
                self._key = self._make_key()
            return self._key

    def _read(self, scope: str) -> dict[str, bytes]:
        path = self._path(scope)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                data = file.read(_MAX_FILE + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _failed("cannot be read", error) from error
        return self._decrypted(scope, data)

    def _decrypted(self, scope: str, data: bytes) -> dict[str, bytes]:
        if not data.startswith(_MAGIC) or len(data) > _MAX_FILE:
            raise SecretError("a file of secrets has another format", hint=_HINT)
        try:
            text = SecretBox(self._opened_key()).decrypt(data[len(_MAGIC) :])
            found = json.loads(text)
            if found["scope"] != scope:
                raise SecretError("a file of secrets is another scope's", hint=_HINT)
            return {name: bytes.fromhex(value) for name, value in found["values"].items()}
        except (CryptoError, ValueError, KeyError, TypeError) as error:
            raise SecretError(
                "a file of secrets is damaged, or was written with another key", hint=_HINT
            ) from error

    def _write(self, scope: str, values: dict[str, bytes]) -> None:
        path = self._path(scope)
        text = json.dumps(
            {"scope": scope, "values": {name: value.hex() for name, value in values.items()}}
        )
        data = _MAGIC + SecretBox(self._opened_key()).encrypt(text.encode())
        if len(data) > _MAX_FILE:
            raise SecretError("there are too many secrets in this scope", code="secret.size")
        try:
            if values:
                write_private(path, data)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _failed("cannot be written", error) from error


def open_with_key_file(directory: Path) -> EncryptedFileStore:
    """A store whose key lies in the home, readable by its owner alone.

    It keeps secrets from copies of `secrets/`, and from whoever reads files without being the
    owner. It cannot keep them from the owner's own programs.

    Args:
        directory: `secrets/` of the home.
    """
    keys = directory.parent / "keys"
    place = keys if keys.is_dir() else directory
    return EncryptedFileStore(directory / FOLDER, key=lambda: _key_of_file(place / "secrets.key"))


def open_with_passphrase(directory: Path) -> EncryptedFileStore:
    """A store whose key comes from a passphrase; see `passphrase`."""
    folder = directory / f"{FOLDER}-passphrase"
    return EncryptedFileStore(folder, key=lambda: key_of_passphrase(folder, passphrase()))


def _key_of_file(path: Path) -> bytes:
    try:
        with FileLock(path.with_name(f".{path.name}.lock")).held():
            if not path.exists():
                write_private(path, os.urandom(KEY_BYTES))
            key = path.read_bytes()
            mode = path.stat().st_mode
    except OSError as error:
        raise _failed("has no key", error) from error
    if len(key) != KEY_BYTES:
        raise SecretError(
            "the key of the secrets is damaged",
            hint=f"put keys/{path.name} back from a copy, or delete it and set the secrets again",
        )
    if mode & 0o077:
        raise SecretLockedError(
            "the key of the secrets can be read by others", hint=f"chmod 600 keys/{path.name}"
        )
    return key


def _failed(what: str, error: OSError) -> SecretError:
    return SecretError(f"the store of secrets {what}: {error.strerror}")
