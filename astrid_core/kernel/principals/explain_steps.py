"""What explanations are made of: the steps to a decision, and the question that is decided."""

from __future__ import annotations

from typing import NamedTuple

from astrid_core.domain.capability import Decision, Outcome
from astrid_core.domain.profile import DEFAULT_PROFILE, Profile
from astrid_core.kernel.profiles import OWNER_PROFILE
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.values import Principal


class Step(NamedTuple):
    """One thing that was looked at.

    Attributes:
        source: Where it is written: a file, a manifest, a distribution.
        effect: `allows`, `refuses`, or `silent`.
        text: What it says.
    """

    source: str
    effect: str
    text: str


class CapsuleQuestion(NamedTuple):
    """What a capsule would do, and the gate that this only question is put to.

    Attributes:
        steps: What was looked at for it; whoever answers adds to it.
    """

    gate: Gate
    acting: CapsuleGrants
    principal: Principal
    resource: str
    steps: list[Step]


def profile_step(principal: Principal, profile: Profile) -> Step:
    """What the profile says about the principal as a whole."""
    source = f"etc/profiles/{principal}.toml"
    if profile is DEFAULT_PROFILE or profile is OWNER_PROFILE:
        return Step(source, "silent", "not there, the defaults apply")
    if profile.enabled:
        return Step(source, "silent", "enabled")
    return Step(source, "refuses", "enabled = false")


def right_steps(
    principal: Principal, profile: Profile, decision: Decision, *, right: str
) -> list[Step]:
    """Revokes, grants and groups, as far as they were looked at."""
    if decision.outcome is Outcome.DISABLED:
        return []
    source = f"etc/profiles/{principal}.toml"
    if decision.outcome is Outcome.REVOKED:
        return [Step(source, "refuses", f"revokes {decision.pattern!r} covers {right!r}")]
    steps = [Step(source, "silent", f"revokes: none of {len(profile.revokes)} covers it")]
    if decision.outcome is Outcome.GRANTED:
        return [*steps, Step(source, "allows", f"grants {decision.pattern!r} covers {right!r}")]
    steps.append(Step(source, "silent", f"grants: none of {len(profile.grants)} covers it"))
    for name in profile.groups:
        if name in decision.unknown_groups:
            steps.append(Step(f"group {name}", "silent", "there is no such group"))
        elif name == decision.group:
            covers = f"{decision.pattern!r} covers {right!r}"
            return [*steps, Step(f"group {name}", "allows", covers)]
        else:
            steps.append(Step(f"group {name}", "silent", "no capability of it covers it"))
    return steps
