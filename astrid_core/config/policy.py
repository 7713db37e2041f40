"""`[policy]` of `etc/config.toml`: what is blocked or asked about, whatever a manifest says."""

from __future__ import annotations

from typing import Any, Final

from astrid_core.domain.action_policy import ActionPolicy
from astrid_core.domain.resource_pattern import PatternError, ResourcePattern
from astrid_core.domain.toml_table import Table

LISTS: Final = (
    "blocked_tools",
    "approval_required_tools",
    "denied_paths",
    "allowed_paths",
    "denied_hosts",
    "allowed_hosts",
    "blocked_capsules",
)
KEYS: Final = ("enforce", *LISTS, "max_argument_bytes")
DEFAULT: Final = ActionPolicy(approval_required_tools=(), denied_paths=())
"""With the policy switched on and nothing else said; paths of the host mean nothing to guests."""
_PATHS: Final = ("denied_paths", "allowed_paths")
_BYTES: Final = range(1024 * 1024 + 1)


def parse_policy(table: Table) -> ActionPolicy | None:
    """Check the section.

    Returns:
        None where it is not switched on.

    Raises:
        ConfigError: `config.*`, naming the key.

    Spec: kernel-and-security 7.5, 14.2.
    """
    table.only(KEYS)
    size = table.bounded("max_argument_bytes", _BYTES, rule="E-VALUE")
    lists: dict[str, Any] = {}
    for key in LISTS:
        texts = table.texts(key)
        lists[key] = getattr(DEFAULT, key) if texts is None else texts
        if key in _PATHS:
            _check_patterns(table, key, lists[key])
    if not table.flag("enforce"):
        return None
    return ActionPolicy(
        **lists, max_argument_bytes=DEFAULT.max_argument_bytes if size is None else size
    )


def policy_values(policy: ActionPolicy | None) -> dict[str, object]:
    """The settings by dotted key, as a file would say them."""
    shown = policy or DEFAULT
    return {
        "policy.enforce": policy is not None,
        **{f"policy.{key}": list(getattr(shown, key)) for key in LISTS},
        "policy.max_argument_bytes": shown.max_argument_bytes,
    }


def _check_patterns(table: Table, key: str, texts: tuple[str, ...]) -> None:
    for index, text in enumerate(texts):
        try:
            ResourcePattern(text)
        except PatternError as error:
            hint = 'for example "workspace://secrets/**"'
            raise table.error("E-VALUE", error.message, key, index, hint=hint) from error
