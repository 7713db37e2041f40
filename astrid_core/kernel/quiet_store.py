"""A plugin's secret store, whose failures tell who failed and nothing of what it keeps.

Trusted with the silence of errors: what a store raises may quote a value, and errors end up in
logs, answers and terminals. An error that the contract does not provide for loses its text here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from astrid_hookspecs.errors import AstridError, SecretError, SecretLockedError
from astrid_hookspecs.secrets import SecretStore

ResultT = TypeVar("ResultT")
_MAX_CAUSES: Final = 16


class QuietStore:
    """Implements `SecretStore`. Safe from any thread, as the store is.

    Args:
        store: The plugin's.
        label: Names the store, its plugin and its distribution.
    """

    def __init__(self, store: SecretStore, *, label: str) -> None:
        self._store = store
        self._label = label

    def get(self, scope: str, name: str) -> bytes | None:
        """As `SecretStore.get`."""
        return self._asked("read a secret", lambda: self._store.get(scope, name))

    def set(self, scope: str, name: str, value: bytes) -> None:
        """As `SecretStore.set`."""
        self._asked("keep a secret", lambda: self._store.set(scope, name, value), value=value)

    def delete(self, scope: str, name: str) -> bool:
        """As `SecretStore.delete`."""
        return self._asked("delete a secret", lambda: self._store.delete(scope, name))

    def names(self, scope: str) -> list[str]:
        """As `SecretStore.names`."""
        return self._asked("list its secrets", lambda: self._store.names(scope))

    def _asked(self, what: str, call: Callable[[], ResultT], *, value: bytes = b"") -> ResultT:
        try:
            return call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, AstridError) and not _quotes(error, value):
                raise
            kind = type(error).__name__
            failure = SecretLockedError if isinstance(error, SecretLockedError) else SecretError
        # Outside of the handler: the error that quotes the value must not become its context.
        raise failure(
            f"{self._label} could not {what}: {kind}",
            hint="its own message is withheld, as it may quote the secret",
        )


def _quotes(error: BaseException, value: bytes) -> bool:
    """Whether an error or one of its causes shows the value, as text or as Python writes it."""
    if not value:
        return False
    text = value.decode("utf-8", "backslashreplace")
    forms = (text, repr(text)[1:-1], repr(value)[2:-1])
    return any(form in said for said in _texts(error) for form in forms)


def _texts(error: BaseException) -> Iterator[str]:
    current: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if current is None:
            return
        yield f"{current} {getattr(current, 'hint', '')}"
        current = current.__cause__ or current.__context__
