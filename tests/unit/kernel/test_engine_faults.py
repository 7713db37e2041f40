"""exit() in an engine ends nothing of the kernel."""

from __future__ import annotations

import pytest

from astrid_core.kernel.engine_faults import engine_faults
from astrid_hookspecs.errors import EngineError, GuestTrapError
from astrid_hookspecs.values import CapsuleId

NAME = CapsuleId("notes")


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), BaseException("a secret")])
def test_what_is_no_exception_is_a_failure_of_the_engine(error: BaseException) -> None:
    with pytest.raises(EngineError, match="'notes'") as caught, engine_faults(NAME):
        raise error
    assert type(error).__name__ in caught.value.message
    assert "a secret" not in caught.value.message


@pytest.mark.parametrize("error", [GuestTrapError("trap"), ValueError(), KeyboardInterrupt()])
def test_everything_else_stays_what_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)), engine_faults(NAME):
        raise error
