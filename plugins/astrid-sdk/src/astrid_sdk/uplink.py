"""Be a front end: register, and hand in what users of a platform say.

Needs `uplink = true` in the manifest, and an `[[uplink]]` to hand something in. What is said goes
out on `user.v1.prompt`, for the user whose account it is; from an account that is nobody's it waits
until `identity.link` says whose it is.

Spec: astrid:uplink@1.0.0.
"""

from __future__ import annotations

from typing import Literal

from astrid_sdk.bindings import host_call, host_type

Profile = Literal["chat", "interactive", "notify", "bridge"]


def register(name: str, platform: str, *, profile: Profile = "chat") -> str:
    """Register a front end; returns its id. It ends with this instance.

    Raises:
        UplinkError: `CapabilityDeniedError`, `InvalidInputError` also for one that is there
            already, `QuotaError` for the 33rd.
    """
    chosen = host_type("uplink", "UplinkProfile")[profile.upper()]
    return str(host_call("uplink", "uplink_register", name, platform, chosen))


def send(uplink_id: str, account: str, content: str) -> bool:
    """Hand in what a user said; false when it was not taken because too much waits.

    Raises:
        UplinkError: `UnknownUplinkError`, `CapabilityDeniedError` also when the user is switched
            off, `InvalidInputError`, `QuotaError` without an `[[uplink]]`.
    """
    return bool(host_call("uplink", "uplink_send", uplink_id, account, content))
