"""Explains what capsules do: which check of the gate decides, and what the manifest says."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final, NamedTuple

from astrid_core.domain.file_pattern import FilePlace
from astrid_core.domain.guest_path import PARENT, parse_guest_path
from astrid_core.kernel.principals.authority import Authority
from astrid_core.kernel.principals.explain_case import Outside
from astrid_core.kernel.principals.explain_outside import (
    OUTSIDE_ACTIONS,
    outside_decision,
    outside_entries,
)
from astrid_core.kernel.principals.explain_steps import CapsuleQuestion, Step
from astrid_core.security.checked import FileAccess
from astrid_core.security.gate import Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.people_checks import IDENTITY_ACTIONS
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import Principal, parse_principal

_FRONT_ENDS: Final = ("uplink.register", "uplink.send")
_FOR_OTHERS: Final = ("bus.publish-as", "uplink.speak-for")
ACTIONS: Final = (
    "capsule.invoke",
    "bus.publish",
    "bus.subscribe",
    "fs.read",
    "fs.write",
    *IDENTITY_ACTIONS,
    *_FRONT_ENDS,
    *_FOR_OTHERS,
    *OUTSIDE_ACTIONS,
)
"""What capsules do that can be explained; anything else is a method or a capability."""
ABOUT_NOTHING: Final = frozenset({"identity.create-user", "identity.list-links", "process.persist"})
"""Actions that name no resource."""


class Known(NamedTuple):
    """What decides besides the manifest.

    Attributes:
        schemes: Of the mounts.
        authority: Profiles and groups.
        outside: What is known about processes, the network, servers and approvals.
    """

    schemes: Container[str]
    authority: Authority
    outside: Outside


def capsule_decision(
    question: CapsuleQuestion, action: str, *, known: Known
) -> Callable[[], Grant]:
    """What asks the gate, as the host function behind the action does.

    Args:
        question: Who would do it, to what.
        action: One of `ACTIONS`, but not `capsule.invoke`.
        known: What decides besides the manifest.

    Raises:
        ConfigError: The resource makes no sense.
    """
    if action in OUTSIDE_ACTIONS:
        return outside_decision(question, action, known.outside, authority=known.authority)
    return _inside_decision(question, action, known)


def _inside_decision(question: CapsuleQuestion, action: str, known: Known) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = question
    if action == "bus.publish":
        return lambda: gate.check_publish(acting, principal, resource)
    if action == "bus.subscribe":
        return lambda: gate.check_subscribe(acting, principal, resource)
    if action in IDENTITY_ACTIONS:
        return lambda: gate.check_identity(acting, principal, action, resource=resource)
    if action in _FRONT_ENDS:
        return lambda: gate.check_uplink(acting, principal, action, resource=resource)
    if action in _FOR_OTHERS:
        return _speaking(question, action, is_enabled=known.authority.profiles.is_enabled)
    return _file_access(question, action, schemes=known.schemes)


def manifest_steps(grants: CapsuleGrants, action: str) -> list[Step]:
    """What the manifest says about the action; empty when it is not asked."""
    tables: Mapping[str, Sequence[str]]
    if action in IDENTITY_ACTIONS:
        tables = {"identity": grants.identity}
    elif action in _FRONT_ENDS or action in _FOR_OTHERS:
        tables = {"uplink": ["uplink = true"] if grants.uplink else []}
    elif action in OUTSIDE_ACTIONS:
        tables = outside_entries(grants, action)
    else:
        entries = {
            "bus.publish": grants.publish,
            "bus.subscribe": grants.subscribe,
            "fs.read": [pattern.text for pattern in grants.fs_read],
            "fs.write": [pattern.text for pattern in grants.fs_write],
        }[action]
        tables = {action: entries}
    return [
        Step(
            f"manifest of {grants.capsule}",
            "silent",
            f"lists for {table}: {', '.join(listed) or 'nothing'}",
        )
        for table, listed in tables.items()
    ]


def _speaking(
    question: CapsuleQuestion, action: str, *, is_enabled: Callable[[Principal], bool]
) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = question
    claimed = parse_principal(resource)

    def speak() -> Grant:
        grant = gate.check_publish_as(acting, principal, claimed, enabled=is_enabled(claimed))
        if action == "uplink.speak-for":
            return gate.check_account(acting, principal, claimed)
        return grant

    return speak


def _file_access(
    question: CapsuleQuestion, action: str, *, schemes: Container[str]
) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = question
    place = _place(resource, schemes=schemes)
    verb: FileAccess = "read" if action == "fs.read" else "write"

    def check_file() -> Grant:
        checked = gate.check_file(acting, principal, verb, place)
        return Grant(AuthzRequest(principal, action, resource, acting.capsule), checked.rule)

    return check_file


def _place(resource: str, *, schemes: Container[str]) -> FilePlace:
    path = parse_guest_path(resource, schemes=schemes)
    if PARENT in path.parts:
        raise ConfigError(
            f"{resource!r} leads upwards",
            code="explain.resource",
            hint="name where the path leads to: the kernel decides about that place",
        )
    return FilePlace(path.scheme, tuple(path.parts))
