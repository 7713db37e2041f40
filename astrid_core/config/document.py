"""TOML files of the operator, as `Document`s: read completely, bounded, never guessed.

Trusted with refusing: what is not a regular file, too large, not TOML, or a link to nothing is an
error that names the file.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from astrid_core.domain.toml_document import MAX_BYTES, Document
from astrid_hookspecs.errors import ConfigError, DocumentError

_NON_BLOCKING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class SettingsError(DocumentError):
    """A file below `etc/`, or of a workspace, is not understood; nothing of it is used.

    Rules: `E-TOML`, `E-SIZE`, `E-UNKNOWN`, `E-VALUE`.
    """

    default_code = "config.invalid"
    domain = "config"
    document = "the settings"


def read_document(path: Path) -> Document | None:
    """Read a file; None where there is none.

    Raises:
        ConfigError: `config.unreadable`.
        SettingsError: `config.size` or `config.toml`.

    Spec: kernel-and-security 14.1.
    """
    data = read_bounded(path)
    return None if data is None else parse_document(data, name=str(path))


def read_bounded(path: Path) -> bytes | None:
    """The bytes of a file, or the first `MAX_BYTES + 1` of them; None where there is no file.

    Raises:
        ConfigError: `config.unreadable`.
    """
    try:
        descriptor = os.open(path, _NON_BLOCKING)
    except FileNotFoundError as error:
        if os.path.lexists(path):  # what the operator wrote must not turn into the default
            raise _unreadable(path, "it is a link to nothing") from error
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unreadable(path, "it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    finally:
        os.close(descriptor)


def parse_document(data: bytes, *, name: str) -> Document:
    """Parse the bytes of a file.

    Args:
        data: The whole file, or its first `MAX_BYTES + 1` bytes.
        name: The file as messages name it.

    Raises:
        SettingsError: `config.size` or `config.toml`.
    """
    return Document(data, path=name, error=SettingsError)


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{path} cannot be read: {reason}", code="config.unreadable")
