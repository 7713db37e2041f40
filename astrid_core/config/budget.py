"""`[budget]` of `etc/config.toml`: how much of what capsules tell they spend is let through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from astrid_core.domain.budget import Budget
from astrid_core.domain.toml_table import Table

KEYS: Final = ("session_max_usd", "per_action_max_usd", "warn_at_percent", "workspace_max_usd")
_MAX_USD: Final = 10_000.0
_MAX_PERCENT: Final = 100.0


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """Bounds for each principal, in US dollars.

    Attributes:
        session_max_usd: From its first client's coming to its last one's going.
        per_action_max_usd: At once.
        warn_at_percent: Of a bound; what goes beyond is recorded as a warning.
        workspace_max_usd: In one workspace, for good; None for no bound.
    """

    session_max_usd: float = 100.0
    per_action_max_usd: float = 10.0
    warn_at_percent: float = 80.0
    workspace_max_usd: float | None = None

    @property
    def session(self) -> Budget:
        """Of a session in which nothing was spent."""
        return Budget(self.session_max_usd, self.per_action_max_usd, self.warn_at_percent)

    @property
    def workspace(self) -> Budget | None:
        """Of a workspace in which nothing was spent; None for no bound."""
        if self.workspace_max_usd is None:
            return None
        return Budget(self.workspace_max_usd, self.per_action_max_usd, self.warn_at_percent)


def parse_budget(table: Table) -> BudgetSettings:
    """Check the section.

    Raises:
        ConfigError: `config.*`, naming the key.

    Spec: kernel-and-security 14.2.
    """
    table.only(KEYS)
    default = BudgetSettings()
    session = _amount(table, "session_max_usd", at_most=_MAX_USD) or default.session_max_usd
    action = _amount(table, "per_action_max_usd", at_most=_MAX_USD) or default.per_action_max_usd
    return BudgetSettings(
        session,
        min(action, session),  # a workspace may have lowered the other one
        _amount(table, "warn_at_percent", at_most=_MAX_PERCENT) or default.warn_at_percent,
        _amount(table, "workspace_max_usd", at_most=_MAX_USD),
    )


def _amount(table: Table, key: str, *, at_most: float) -> float | None:
    found = table.number(key)
    if found is not None and not 0 < found <= at_most:
        raise table.error("E-VALUE", f"has to be more than 0 and at most {at_most:g}", key)
    return found
