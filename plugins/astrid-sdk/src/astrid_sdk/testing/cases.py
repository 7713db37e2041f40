"""How the fake host answers with an error case."""

from __future__ import annotations

from astrid_sdk.bindings import WitCaseError


def require(condition: bool, *, case: str) -> None:  # noqa: FBT001 - the condition is the subject
    """Answer with an error case unless the condition holds.

    Raises:
        WitCaseError: The condition does not hold.
    """
    if not condition:
        raise WitCaseError(case)
