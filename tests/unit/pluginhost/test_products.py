"""What factories make: the whole contract, or an error that names the plugin."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core.pluginhost.products import with_checked_factory
from astrid_core.pluginhost.source import PluginSource
from astrid_hookspecs.errors import PluginContractError, SecretLockedError
from astrid_hookspecs.secrets import SecretStore, SecretStoreRecord

SOURCE = PluginSource("acme", "astrid-acme", "9.9")


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*_arguments: object) -> Any:
        raise error

    return function


def checked(**fields: Any) -> SecretStoreRecord:
    record = SecretStoreRecord(name="vault", priority=1, factory=object)  # type: ignore[arg-type]
    made: SecretStoreRecord = with_checked_factory(
        dataclasses.replace(record, **fields), SecretStore, kind="secret-store", source=SOURCE
    )
    return made


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(0), GeneratorExit()])
def test_a_factory_that_fails_names_the_plugin(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(PluginContractError, match=r"'acme' of astrid-acme 9\.9") as caught:
        checked(factory=raising(error)).factory(tmp_path)
    assert "the secret-store 'vault'" in caught.value.message
    assert type(error).__name__ in caught.value.message


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(0)])
def test_a_store_that_cannot_say_whether_it_works_names_the_plugin(error: BaseException) -> None:
    with pytest.raises(PluginContractError, match=r"'acme' of astrid-acme 9\.9") as caught:
        checked(unavailable_reason=raising(error)).unavailable_reason()
    assert "'vault' can be used" in caught.value.message


@pytest.mark.parametrize("error", [SecretLockedError("locked"), KeyboardInterrupt()])
def test_what_was_raised_on_purpose_stays_what_it_is(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        checked(factory=raising(error)).factory(tmp_path)
