"""Secret stores of plugins: their failures are named, and tell no values."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import cast

import pytest

from astrid_core.domain.failure_text import failure_text
from astrid_core.kernel.quiet_store import QuietStore
from astrid_hookspecs.errors import SecretError, SecretLockedError
from astrid_hookspecs.secrets import SecretStore
from tests.support.secrets import Vault

LABEL = "the secret store 'leaky' of plugin 'acme' of astrid-acme 9.9"
VALUE = b"hunter2\xff"


class Leaky:
    """Raises what it is told to from every method."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def fail(self, *_arguments: object) -> None:
        raise self.error

    get = set = delete = names = fail


def uses(error: BaseException) -> list[Callable[[], object]]:
    store = QuietStore(cast("SecretStore", Leaky(error)), label=LABEL)
    return [
        lambda: store.get("ada/notes", "KEY"),
        lambda: store.set("ada/notes", "KEY", VALUE),
        lambda: store.delete("ada/notes", "KEY"),
        lambda: store.names("ada/notes"),
    ]


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, GeneratorExit])
def test_what_no_store_should_raise_names_the_plugin_and_tells_nothing(
    kind: type[BaseException],
) -> None:
    for use in uses(kind(f"cannot keep {VALUE!r}")):
        with pytest.raises(SecretError) as caught:
            use()
        assert LABEL in caught.value.message
        assert kind.__name__ in caught.value.message
        shown = "".join(traceback.format_exception(caught.value)) + failure_text(caught.value)
        assert "hunter2" not in shown + str(caught.value.hint)


def test_an_error_of_the_contract_that_quotes_the_value_is_withheld() -> None:
    error = SecretError("no room")
    error.__cause__ = OSError(f"cannot write {VALUE!r}")
    _, keep, *_ = uses(error)
    with pytest.raises(SecretError, match="could not keep a secret") as caught:
        keep()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("error", [SecretLockedError("locked"), KeyboardInterrupt()])
def test_what_was_raised_on_purpose_stays_what_it_is(error: BaseException) -> None:
    for use in uses(error):
        with pytest.raises(type(error)):
            use()


def test_what_works_passes() -> None:
    store = QuietStore(cast("SecretStore", Vault()), label=LABEL)
    store.set("ada/notes", "KEY", VALUE)
    assert (store.get("ada/notes", "KEY"), store.names("ada/notes")) == (VALUE, ["KEY"])
    assert store.delete("ada/notes", "KEY")
