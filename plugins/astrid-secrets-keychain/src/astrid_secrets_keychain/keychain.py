"""Secrets in the system's keychain: Secret Service, macOS Keychain, Windows Credential Manager.

Trusted with separation: entries are filed under the home's own mark, the capsule and the principal,
so that two homes of one user never meet. Only back ends that encrypt are used, whatever other ones
are installed. Spec: kernel-and-security 9.3; cli-and-ux T-34.
"""

from __future__ import annotations

import base64
import binascii
import builtins
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import keyring.backend
import keyring.errors

from astrid_hookspecs.errors import SecretError, SecretLockedError
from astrid_secrets_keychain.bounded import BoundedCaller
from astrid_secrets_keychain.file_lock import FileLock, write_private
from astrid_secrets_keychain.names import check_place, check_value

CALL_S: Final = 5.0
CHANGE_S: Final = 30.0
"""A change may ask the person to unlock the keychain."""
PROBE_S: Final = 3.0
_SAFE: Final = ("SecretService", "libsecret", "kwallet", "macOS", "Windows")
_INDEX: Final = "\x01index"
_ENCODED: Final = "base64:"
_prober: Final = BoundedCaller("astrid-keychain-probe")


def unavailable_reason() -> str | None:
    """Why there is no usable keychain here; None when there is one. Takes a bounded time."""
    try:
        return _prober.call(_probe, timeout_s=PROBE_S)
    except SecretLockedError:
        return "the keychain does not answer"


class KeychainStore:
    """Implements `astrid_hookspecs.secrets.SecretStore`.

    Args:
        directory: Holds the home's mark and a lock, nothing secret.

    Raises:
        SecretError: There is no keychain, or the directory cannot be used.
    """

    __slots__ = ("_backend", "_caller", "_lock", "_mark")

    def __init__(self, directory: Path) -> None:
        self._caller = BoundedCaller("astrid-keychain")
        self._backend = self._caller.call(_backend, timeout_s=CALL_S)
        try:
            self._lock = FileLock(directory / "keychain.lock")
            self._mark = self._own_mark(directory / "keychain.id")
        except OSError as error:
            raise SecretError(
                f"the directory of secrets cannot be used: {error.strerror}"
            ) from error

    def __repr__(self) -> str:
        return "KeychainStore()"

    def get(self, scope: str, name: str) -> bytes | None:
        """As `SecretStore.get`."""
        check_place(scope, name)
        text = self._ask(scope, name)
        return None if text is None else _decoded(text)

    def set(self, scope: str, name: str, value: bytes) -> None:
        """As `SecretStore.set`."""
        check_place(scope, name)
        check_value(value)
        with self._lock.held_for("the keychain"):
            known = self._names(scope)
            if name not in known:  # first, so that no secret is there that nobody lists
                self._change(scope, _INDEX, json.dumps(sorted({*known, name})))
            self._change(scope, name, _encoded(value))

    def delete(self, scope: str, name: str) -> bool:
        """As `SecretStore.delete`."""
        check_place(scope, name)
        with self._lock.held_for("the keychain"):
            was_there = self._ask(scope, name) is not None
            if was_there:
                self._change(scope, name, None)
            known = self._names(scope)
            if name in known:
                rest = sorted(known - {name})
                self._change(scope, _INDEX, json.dumps(rest) if rest else None)
            return was_there

    def names(self, scope: str) -> list[str]:
        """As `SecretStore.names`."""
        check_place(scope)
        return sorted(name for name in self._names(scope) if self._ask(scope, name) is not None)

    def _names(self, scope: str) -> builtins.set[str]:
        text = self._ask(scope, _INDEX)
        if text is None:
            return builtins.set()
        try:
            return {str(name) for name in json.loads(text)}
        except (ValueError, TypeError) as error:
            raise SecretError("the keychain's list of secrets is damaged") from error

    def _service(self, scope: str) -> str:
        principal, _, capsule = scope.partition("/")
        return f"astrid:{self._mark}:{capsule}:{principal}"

    def _ask(self, scope: str, name: str) -> str | None:
        service = self._service(scope)
        return self._bounded(lambda: self._backend.get_password(service, name), CALL_S)

    def _change(self, scope: str, name: str, text: str | None) -> None:
        service, backend = self._service(scope), self._backend
        if text is None:
            self._bounded(lambda: backend.delete_password(service, name), CHANGE_S)
        else:
            self._bounded(lambda: backend.set_password(service, name, text), CHANGE_S)

    def _bounded(self, work: Callable[[], str | None], timeout_s: float) -> str | None:
        try:
            return self._caller.call(work, timeout_s=timeout_s)
        except keyring.errors.KeyringLocked as error:
            raise SecretLockedError(
                "the keychain is locked", hint="unlock it, and try again"
            ) from error
        except SecretError:
            raise
        except Exception as error:
            raise SecretError(f"the keychain failed: {type(error).__name__}") from error

    def _own_mark(self, path: Path) -> str:
        with self._lock.held():
            if not path.exists():
                write_private(path, os.urandom(8).hex().encode())
            mark = path.read_text().strip()
        if len(mark) != 16 or not mark.isalnum():  # noqa: PLR2004 - 8 bytes in hex
            raise SecretError(
                "secrets/keychain.id is damaged",
                hint="put it back from a copy: the secrets are filed under what it said",
            )
        return mark


def _backend() -> keyring.backend.KeyringBackend:
    """The best back end that encrypts.

    Raises:
        SecretError: There is none.
    """
    found = [
        backend
        for backend in keyring.backend.get_all_keyring()
        if type(backend).__module__.removeprefix("keyring.backends.") in _SAFE
        and type(backend).__module__.startswith("keyring.backends.")
    ]
    if not found:
        raise SecretError(
            "there is no keychain here",
            code="secret.no-keychain",
            hint='choose secrets.backend = "encrypted-file" in etc/config.toml',
        )
    return max(found, key=lambda backend: backend.priority)


def _probe() -> str | None:
    try:
        backend = _backend()
    except SecretError as error:
        return error.message
    if type(backend).__module__ == "keyring.backends.SecretService":
        return _probe_secret_service()
    try:
        backend.get_password("astrid:probe", "probe")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not usable
        return f"the keychain failed: {type(error).__name__}"
    return None


def _probe_secret_service() -> str | None:
    """Look without asking anybody to unlock anything."""
    import secretstorage  # noqa: PLC0415 - only where it is used

    try:
        connection = secretstorage.dbus_init()
        try:
            collection = secretstorage.get_default_collection(connection)
            return "the keychain is locked" if collection.is_locked() else None
        finally:
            connection.close()
    except Exception as error:  # noqa: BLE001 - the same
        return f"the keychain failed: {type(error).__name__}"


def _encoded(value: bytes) -> str:
    """Text as it is, so that people recognise it; everything else in base64."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = _ENCODED
    if text.startswith(_ENCODED) or "\0" in text:
        return _ENCODED + base64.b64encode(value).decode()
    return text


def _decoded(text: str) -> bytes:
    if not text.startswith(_ENCODED):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_ENCODED), validate=True)
    except binascii.Error as error:
        raise SecretError("a secret in the keychain is damaged") from error
