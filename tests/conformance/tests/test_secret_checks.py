"""Each check of secret stores rejects a store that breaks just that promise."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.secret_store import SECRET_STORE, secret_subject
from astrid_conformance.fakes import DictSecretStore
from astrid_conformance.suites import SecretStoreConformance
from astrid_hookspecs.errors import SecretError
from astrid_hookspecs.secrets import SecretStore


class AbsentIsEmpty(DictSecretStore):
    def get(self, scope: str, name: str) -> bytes | None:
        return super().get(scope, name) or b""


class StripsValues(DictSecretStore):
    def set(self, scope: str, name: str, value: bytes) -> None:
        super().set(scope, name, value.strip() or value)


class DeletesNothing(DictSecretStore):
    def delete(self, scope: str, name: str) -> bool:
        return super().get(scope, name) is not None


class IgnoresPrincipals(DictSecretStore):
    def get(self, scope: str, name: str) -> bytes | None:
        return super().get(scope.partition("/")[2], name)

    def set(self, scope: str, name: str, value: bytes) -> None:
        super().set(scope.partition("/")[2], name, value)


class ListsAsWritten(DictSecretStore):
    def names(self, scope: str) -> list[str]:
        return list(self._scopes.get(scope, {}))


class FollowsDots(DictSecretStore):
    def set(self, scope: str, name: str, value: bytes) -> None:
        if name.startswith("../../"):
            principal, capsule, name = name.removeprefix("../../").split("/")
            scope = f"{principal}/{capsule}"
        super().set(scope, name, value)


class ShowsSecrets(DictSecretStore):
    def __repr__(self) -> str:
        return f"<store {self._scopes}>"


class ShowsSecretsInErrors(DictSecretStore):
    def set(self, scope: str, name: str, value: bytes) -> None:
        try:
            super().set(scope, name, value)
        except SecretError as error:
            raise SecretError(f"cannot store {value!r}") from error


class WritesForEveryone(DictSecretStore):
    __slots__ = ()

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (directory / "secrets.json").touch()
        (directory / "secrets.json").chmod(0o644)


class Forgets(DictSecretStore):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._scopes = {}


class WritesInTwoSteps(DictSecretStore):
    def set(self, scope: str, name: str, value: bytes) -> None:
        names = dict(self._scopes.get(scope, {}))
        time.sleep(0.0005)
        self._scopes[scope] = {**names, name: value}


BROKEN: dict[str, Callable[[Path], SecretStore]] = {
    "absent-is-none": AbsentIsEmpty,
    "values-come-back-unchanged": StripsValues,
    "set-replaces-and-delete-removes": DeletesNothing,
    "scopes-never-meet": IgnoresPrincipals,
    "names-are-sorted": ListsAsWritten,
    "hostile-names-stay-in-their-scope": FollowsDots,
    "secrets-are-never-shown": ShowsSecrets,
    "files-are-private": WritesForEveryone,
    "a-new-store-finds-the-secrets": Forgets,
    "threads-may-share-it": WritesInTwoSteps,
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.mkdir(mode=0o700)
    return path


def outcome(name: str, factory: Callable[[Path], SecretStore], directory: Path) -> Outcome:
    check = SECRET_STORE.named(name)
    return run_check(check, lambda: secret_subject(factory, directory)).outcome


def test_every_check_has_a_broken_store() -> None:
    assert {check.name for check in SECRET_STORE} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_rejects_a_store_that_breaks_it(name: str, directory: Path) -> None:
    assert outcome(name, BROKEN[name], directory) is Outcome.FAILED


def test_a_secret_in_an_error_is_found(directory: Path) -> None:
    assert outcome("secrets-are-never-shown", ShowsSecretsInErrors, directory) is Outcome.FAILED


class TestDictSecretStore(SecretStoreConformance):
    def make(self, directory: Path) -> SecretStore:
        return DictSecretStore(directory)
