"""Things that happened, for observers. Observers cannot change or stop what they watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from astrid_hookspecs.markers import hookspec
from astrid_hookspecs.values import CapsuleId, Principal


@dataclass(frozen=True, slots=True)
class CapsuleEvent:
    """A capsule changed state.

    `ready`: it serves. `failed`: it does not work, or did not start. `down`: it failed too often
    and is not started again. `unloaded`: it was stopped because somebody wanted that.
    """

    state: str
    capsule: CapsuleId
    version: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DecisionEvent:
    """The gate decided.

    Attributes:
        allowed: The decision.
        principal: Who asked.
        capsule: Which capsule acted, or None.
        action: As in the request.
        resource: As in the request.
        rule: Which rule decided.
        detail: Facts without secrets.
    """

    allowed: bool
    principal: Principal
    capsule: CapsuleId | None
    action: str
    resource: str
    rule: str
    detail: Mapping[str, str] = field(default_factory=dict)


@hookspec
def astrid_capsule_changed(event: CapsuleEvent) -> None:
    """Watch capsules change state.

    Kind: observe. When: after each change, on any thread.
    Returns: nothing; a result is ignored.
    Failure: logged with the distribution's name; nothing else happens.
    Since: 1.0.
    """


@hookspec
def astrid_decision_made(event: DecisionEvent) -> None:
    """Watch the gate's refusals. What it allows reaches audit sinks.

    Kind: observe. When: right after the refusal, on the deciding thread; return quickly.
    Returns: nothing; a result is ignored.
    Failure: logged with the distribution's name; the decision stands.
    Since: 1.0.
    """
