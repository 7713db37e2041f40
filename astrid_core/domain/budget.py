"""Budgets in US dollars: what one action and what a session may cost.

Pure: a reservation gives a new budget. Amounts that are no amounts are refused [D-49].
Spec: kernel-and-security 7.5, vectors 123 to 126.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from astrid_hookspecs.errors import ConfigError, QuotaExceededError

_ALL_PERCENT = 100
_COST: Final = re.compile(r"spend ([0-9]{1,6}(?:\.[0-9]{1,6})?) USD")
_TELLS_COST: Final = re.compile(r"\s*spend\b.*\busd\b", re.IGNORECASE | re.DOTALL)


class BudgetExceededError(QuotaExceededError):
    """An action costs more than a budget has left."""

    default_code = "denied.budget"


def cost_of(action: str) -> float | None:
    """What an action costs that a capsule asks about in words: `spend 2.50 USD`.

    Returns:
        None for an action that tells no cost.

    Raises:
        ConfigError: `budget.amount`: it tells one in another form.
    """
    found = _COST.fullmatch(action)
    if found is not None:
        return float(found.group(1))
    if _TELLS_COST.match(action) is None:
        return None
    raise ConfigError(
        f"{action[:80]!r} tells no amount", code="budget.amount", hint="say: spend 2.50 USD"
    )


class BudgetVerdict(enum.Enum):
    """What becomes of a cost. Only ALLOWED and WARNED are spent."""

    ALLOWED = "allowed"
    WARNED = "warned"
    OVER_ACTION = "over-action"
    OVER_SESSION = "over-session"

    @property
    def is_allowed(self) -> bool:
        """Whether the action may happen."""
        return self in (BudgetVerdict.ALLOWED, BudgetVerdict.WARNED)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits, and what of them is spent.

    Raises:
        ConfigError: `budget.amount`: a limit is negative or no number.
    """

    session_max_usd: float = 100.0
    per_action_max_usd: float = 10.0
    warn_at_percent: float = 80.0
    spent_usd: float = 0.0

    def __post_init__(self) -> None:
        for amount in (self.session_max_usd, self.per_action_max_usd, self.warn_at_percent):
            check_amount(amount)

    @property
    def available_usd(self) -> float:
        """What is left of the session's limit."""
        return max(self.session_max_usd - self.spent_usd, 0.0)

    def reserve(self, cost_usd: float) -> Reservation:
        """Take a cost off the budget.

        Raises:
            ConfigError: `budget.amount`: the cost is negative, infinite or no number.
        """
        check_amount(cost_usd)
        if cost_usd > self.per_action_max_usd:
            return Reservation(BudgetVerdict.OVER_ACTION, self)
        if cost_usd > self.session_max_usd - self.spent_usd:
            return Reservation(BudgetVerdict.OVER_SESSION, self)
        after = replace(self, spent_usd=self.spent_usd + cost_usd)
        warns = after.spent_usd >= self.session_max_usd * self.warn_at_percent / _ALL_PERCENT
        return Reservation(BudgetVerdict.WARNED if warns else BudgetVerdict.ALLOWED, after)

    def refund(self, cost_usd: float) -> Budget:
        """Give a reservation back; never below nothing spent.

        Raises:
            ConfigError: `budget.amount`, as `reserve`.
        """
        check_amount(cost_usd)
        return replace(self, spent_usd=max(self.spent_usd - cost_usd, 0.0))

    def restored(self, spent_usd: float) -> Budget:
        """The budget as it was stored; what is no amount counts as nothing spent."""
        is_amount = math.isfinite(spent_usd) and spent_usd >= 0
        return replace(self, spent_usd=spent_usd if is_amount else 0.0)


class Reservation(NamedTuple):
    """The verdict, and the budget afterwards: the same one unless the cost is allowed."""

    verdict: BudgetVerdict
    budget: Budget


def reserve_both(
    workspace: Budget, session: Budget, cost_usd: float
) -> tuple[BudgetVerdict, Budget, Budget]:
    """Take a cost off two budgets, or off neither.

    Returns:
        The stricter verdict, then both budgets in the order of the arguments.

    Raises:
        ConfigError: `budget.amount`, as `Budget.reserve`.
    """
    first = workspace.reserve(cost_usd)
    second = session.reserve(cost_usd)
    for reservation in (first, second):
        if not reservation.verdict.is_allowed:
            return reservation.verdict, workspace, session
    warns = BudgetVerdict.WARNED in (first.verdict, second.verdict)
    verdict = BudgetVerdict.WARNED if warns else BudgetVerdict.ALLOWED
    return verdict, first.budget, second.budget


def check_amount(amount: float) -> None:
    """Refuse what is no amount.

    Raises:
        ConfigError: `budget.amount`.
    """
    if isinstance(amount, bool) or not math.isfinite(amount) or amount < 0:
        raise ConfigError(
            f"{amount!r} is no amount", code="budget.amount", hint="use a number from 0 on"
        )
