"""The key of an encrypted store from a passphrase: Argon2id, with a salt of its own.

The passphrase comes from a file descriptor, from a credential of the service manager, or from the
terminal; never from an argument or a variable, which others can read. Spec: RFC 9106.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import threading
from pathlib import Path
from typing import Final

from nacl import pwhash, secret, utils
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from astrid_hookspecs.errors import SecretError, SecretLockedError
from astrid_secrets_keychain.file_lock import FileLock, write_private

VARIABLE: Final = "ASTRID_SECRETS_PASSPHRASE_FD"
"""Names a file descriptor; it is read once, to its end."""
CREDENTIAL: Final = "astrid-secrets-passphrase"
_PARAMETERS: Final = "kdf.json"
_CHECK: Final = b"astrid secrets"
_MAX_BYTES: Final = 4096
_read_once: dict[str, bytes] = {}
_reading: Final = threading.Lock()
"""Who reads a descriptor closes it; a second reader would close what has its number by then."""


def passphrase() -> bytes:
    """The passphrase, without its line break.

    Raises:
        SecretLockedError: Nobody gave one.
    """
    number = os.environ.get(VARIABLE)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if number is not None:
        found = _from_descriptor(number)
    elif folder and (Path(folder) / CREDENTIAL).is_file():
        found = (Path(folder) / CREDENTIAL).read_bytes()[:_MAX_BYTES]
    elif sys.stdin is not None and sys.stdin.isatty():
        found = getpass.getpass("Passphrase of the secrets: ", sys.stderr).encode()
    else:
        found = b""
    found = found.rstrip(b"\r\n")
    if not found:
        raise SecretLockedError(
            "the secrets need a passphrase",
            hint=f"give it through a file descriptor named by {VARIABLE}, or as the service "
            f"credential {CREDENTIAL}",
        )
    return found


def key_of_passphrase(directory: Path, words: bytes) -> bytes:
    """The key of a store, 32 bytes; the first passphrase becomes that of the store.

    Args:
        directory: Of the store; holds salt and costs.
        words: The passphrase.

    Raises:
        SecretLockedError: It is not the passphrase of this store.
        SecretError: The parameters are damaged or cannot be written.
    """
    path = directory / _PARAMETERS
    try:
        with FileLock(directory / ".kdf.lock").held():
            if path.exists():
                return _known(json.loads(path.read_bytes()), words)
            key, parameters = _new(words)
            write_private(path, json.dumps(parameters).encode())
            return key
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise SecretError(
            f"the parameters of the passphrase cannot be used: {reason}",
            hint=f"put {directory.name}/{_PARAMETERS} back from a copy",
        ) from error


def _new(words: bytes) -> tuple[bytes, dict[str, object]]:
    salt = utils.random(argon2id.SALTBYTES)
    costs = (argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
    key = argon2id.kdf(secret.SecretBox.KEY_SIZE, words, salt, *costs)
    check = bytes(secret.SecretBox(key).encrypt(_CHECK))
    return key, {
        "algorithm": "argon2id",
        "salt": salt.hex(),
        "operations": costs[0],
        "memory_bytes": costs[1],
        "check": check.hex(),
    }


def _known(parameters: dict[str, str | int], words: bytes) -> bytes:
    operations, memory = int(parameters["operations"]), int(parameters["memory_bytes"])
    if parameters["algorithm"] != "argon2id" or memory > argon2id.MEMLIMIT_SENSITIVE:
        raise ValueError("costs that nobody chose")
    key = pwhash.argon2id.kdf(
        secret.SecretBox.KEY_SIZE, words, bytes.fromhex(str(parameters["salt"])), operations, memory
    )
    try:
        found = secret.SecretBox(key).decrypt(bytes.fromhex(str(parameters["check"])))
    except CryptoError as error:
        raise SecretLockedError(
            "this is not the passphrase of the secrets", code="secret.passphrase"
        ) from error
    if found != _CHECK:
        raise ValueError("another check")
    return key


def _from_descriptor(number: str) -> bytes:
    with _reading:
        if number not in _read_once:
            try:
                with os.fdopen(int(number), "rb") as file:
                    _read_once[number] = file.read(_MAX_BYTES)
            except (OSError, ValueError) as error:
                raise SecretLockedError(
                    f"{VARIABLE} names no file descriptor that can be read",
                    hint=f"for example: {VARIABLE}=3 astrid start 3< FILE",
                ) from error
        return _read_once[number]
