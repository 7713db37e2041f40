"""Ask the operator for values while the capsule is installed or upgraded.

Spec: astrid:elicit@1.0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from astrid_sdk.bindings import host_call, host_type


def text(key: str, prompt: str = "", *, default: str | None = None) -> str:
    """One line of text.

    Args:
        key: Name of the answer; answers that are given without asking have it.
        prompt: What is shown; the key when it is empty.
        default: What is offered in advance.

    Raises:
        ElicitError: `NotInLifecycleError` outside install and upgrade hooks, `HostTimeoutError`,
            `CancelledError` when the person gave none, `InvalidInputError`.
    """
    return str(_ask("TEXT", key, prompt, default=default).value)


def choice(
    key: str, options: Sequence[str], prompt: str = "", *, default: str | None = None
) -> str:
    """One of several options; arguments and errors as for `text`."""
    return str(_ask("SELECT", key, prompt, options=list(options), default=default).value)


def lines(key: str, prompt: str = "") -> list[str]:
    """Several lines; arguments and errors as for `text`."""
    return list(_ask("ARRAY", key, prompt).value)


def secret(key: str, prompt: str = "") -> None:
    """Have a secret stored; `sys.config(key)` reads it later, in tools and interceptors.

    Arguments and errors as for `text`.

    Raises:
        ElicitError: Also `StoreUnavailableError`.
    """
    _ask("SECRET", key, prompt)


def has_secret(key: str) -> bool:
    """Whether there is a secret under this key; works everywhere.

    Raises:
        ElicitError: `InvalidInputError`, `StoreUnavailableError`.
    """
    return bool(host_call("elicit", "has_secret", key))


def _ask(
    kind: str,
    key: str,
    prompt: str,
    *,
    options: list[str] | None = None,
    default: str | None = None,
) -> Any:
    kinds = host_type("elicit", "ElicitType")
    wanted = host_type("elicit", "ElicitRequest")(kinds[kind], key, prompt, options, default)
    return host_call("elicit", "elicit", wanted)
