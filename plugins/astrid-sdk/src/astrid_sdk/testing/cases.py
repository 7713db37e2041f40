"""How the fake host answers with an error case."""

from __future__ import annotations

from astrid_sdk.bindings import WitCaseError


def require(
    condition: bool,  # noqa: FBT001 - the condition is the subject
    *,
    case: str,
    detail: str | None = None,
) -> None:
    """Answer with an error case unless the condition holds.

    Args:
        condition: What has to hold.
        case: Kebab-case name.
        detail: What a test would have to say, where that is the reason.

    Raises:
        WitCaseError: The condition does not hold.
    """
    if not condition:
        raise WitCaseError(case, detail)
