"""Host functions of `astrid:uplink@1.0.0`: a front end hands in what its users say.

What somebody says is published on `user.v1.prompt`, as a claim, for the principal of the user whose
account it is. From an account that is nobody's it waits until `identity-link` says whose it is.
Trusted with attribution: no account speaks for anybody that it is not linked to.
Spec: host-abi 15, H-32; capsules-and-bus 8.8.
"""

from __future__ import annotations

import uuid
from collections import deque
from typing import Final, NamedTuple

from astrid_core.domain.identity import User
from astrid_core.domain.payload import MAX_PAYLOAD_BYTES, encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import UserInput
from astrid_core.domain.topic import MAX_CAUSAL_DEPTH
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.instance import Instance
from astrid_core.host.label import check_label, check_uuid
from astrid_core.host.record import record
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import ConfigError, DeniedError
from astrid_hookspecs.values import Principal

TOPIC: Final = "user.v1.prompt"
MAX_UPLINKS: Final = 32
MAX_WAITING: Final = 128
MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
MAX_NAME_BYTES: Final = 128
MAX_ID: Final = 64
MAX_ACCOUNT_BYTES: Final = 256
MAX_CONTENT_BYTES: Final = 1024 * 1024
_NS_PER_S: Final = 1_000_000_000


class _Uplink(NamedTuple):
    """One registration."""

    name: str
    platform: str
    profile: str


class _Said(NamedTuple):
    """What somebody said."""

    uplink_id: str
    uplink: _Uplink
    account: str
    payload: bytes
    kind: str

    @property
    def by(self) -> tuple[str, str]:
        """Who said it: what one says is published in order."""
        return self.uplink_id, self.account


class UplinkHost(HostPackage):
    """The functions of `astrid:uplink/host@1.0.0`. Registrations end with the instance."""

    interface = "astrid:uplink/host@1.0.0"

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._uplinks: dict[str, _Uplink] = {}
        self._waiting: deque[_Said] = deque()

    @handles("uplink-register")
    def register(self, name: str, platform: str, profile: str) -> str:
        """Register a front end; returns its id."""
        self._check("register", name)
        check_label(name, limit_bytes=MAX_NAME_BYTES)
        made = _Uplink(name, check_label(platform, limit_bytes=MAX_NAME_BYTES), profile)
        made = made._replace(platform=platform.strip().lower())
        if len(self._uplinks) >= MAX_UPLINKS:
            raise WitError("quota")
        if any(made[:2] == known[:2] for known in self._uplinks.values()):
            raise WitError("invalid-input")
        self._record("register", made)
        uplink_id = str(uuid.UUID(bytes=self.instance.services.random_bytes(16), version=4))
        self._uplinks[uplink_id] = made
        return uplink_id

    @handles("uplink-send")
    def send(self, uplink_id: str, platform_user_id: str, content: str) -> bool:
        """Hand in what a user said; False when it was not taken."""
        self._check("send", uplink_id[:MAX_ID])
        uplink_id = check_uuid(uplink_id)
        account = check_label(platform_user_id, limit_bytes=MAX_ACCOUNT_BYTES)
        if len(content.encode()) > MAX_CONTENT_BYTES:
            raise WitError("invalid-input")
        uplink = self._uplinks.get(uplink_id)
        if uplink is None:
            raise WitError("unknown-uplink")
        if not self.instance.context.has_inbound:
            raise WitError("quota")
        self._record("send", uplink, user_id=account)
        kind, payload = encode(_prompt(uplink_id, uplink, account, content))
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise WitError("invalid-input")
        return self._hand_in(_Said(uplink_id, uplink, account, payload, kind))

    def flush(self) -> None:
        """Publish what waits for accounts that are somebody's by now, in the order it was said.

        What is too much for now waits on, also when the store fails half-way; what the gate refuses
        is on record, and gone.
        """
        waiting, self._waiting = self._waiting, deque()
        behind: set[tuple[str, str]] = set()
        try:
            while waiting:
                said = waiting[0]
                if said.by in behind or not self._is_over(said):
                    behind.add(said.by)
                    self._waiting.append(said)
                waiting.popleft()
        finally:
            self._waiting += waiting

    def _is_over(self, said: _Said) -> bool:
        """Whether something was published now, or never will be."""
        user = self._user_of(said)
        if user is None:
            return False
        try:
            return self._publish(said, user)
        except DeniedError:
            return True

    def _hand_in(self, said: _Said) -> bool:
        self.flush()
        user = self._user_of(said)
        is_behind = any(one.by == said.by for one in self._waiting)
        if user is not None and not is_behind:
            return self._publish(said, user)
        held_bytes = sum(len(one.payload) for one in self._waiting)
        if len(self._waiting) >= MAX_WAITING or held_bytes + len(said.payload) > MAX_WAITING_BYTES:
            return False
        self._waiting.append(said)
        return True

    def _user_of(self, said: _Said) -> User | None:
        identities = self.instance.services.people.identities
        if identities is None or "/" in said.account:
            return None
        link = identities.account(said.uplink.platform, said.account)
        return None if link is None else identities.user(link.astrid_user_id)

    def _publish(self, said: _Said, user: User) -> bool:
        """Publish for a user; False when it says too much for now."""
        instance, services = self.instance, self.instance.services
        claimed = Principal(user.principal)
        enabled = self._is_enabled(claimed)
        gate = services.gate
        gate.check_publish_as(instance.grants, instance.principal, claimed, enabled=enabled)
        gate.check_account(instance.grants, instance.principal, claimed)
        source, depth = instance.context.spec.source_id, instance.depth + 1
        is_within = depth <= MAX_CAUSAL_DEPTH and services.rate.charge(
            source,
            claimed,
            size_bytes=len(said.payload),
            ceiling=services.profiles.quotas(claimed).max_ipc_throughput_bytes,
            now=services.clock.monotonic(),
        )
        if is_within:
            services.bus.publish(
                Envelope(
                    TOPIC,
                    said.payload,
                    said.kind,
                    source_id=source,
                    principal=claimed,
                    attribution=Attribution.CLAIMED,
                    timestamp=format_timestamp(int(services.clock.now() * _NS_PER_S)),
                    depth=depth,
                )
            )
        return is_within

    def _is_enabled(self, claimed: Principal) -> bool:
        try:
            return self.instance.services.profiles.is_enabled(claimed)
        except ConfigError:  # a damaged profile is nobody's permission
            return False

    def _check(self, verb: str, resource: str) -> None:
        instance = self.instance
        instance.services.gate.check_uplink(
            instance.grants,
            instance.principal,
            f"uplink.{verb}",
            resource=resource[:MAX_NAME_BYTES],
        )

    def _record(self, verb: str, uplink: _Uplink, *, user_id: str = "") -> None:
        detail = {"platform": uplink.platform, **({"user_id": user_id} if user_id else {})}
        record(self.instance, f"uplink.{verb}", resource=uplink.name, detail=detail)


def _prompt(uplink_id: str, uplink: _Uplink, account: str, content: str) -> UserInput:
    context = {
        "uplink_id": uplink_id,
        "uplink": uplink.name,
        "platform": uplink.platform,
        "platform_user_id": account,
        "profile": uplink.profile,
    }
    return UserInput(content, session_id=f"{uplink.platform}:{account}", context=context)
