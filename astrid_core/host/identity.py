"""Host functions of `astrid:identity@1.0.0`: whose account on a platform somebody is.

Trusted with order: nothing is looked up or changed before the gate agreed and it is on record.
Spec: host-abi 8; kernel-and-security 6.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from astrid_core.domain.identity import IdentityError, Link
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.label import check_label, check_uuid
from astrid_core.host.people import Identities
from astrid_core.host.record import record
from astrid_core.host.uplink import UplinkHost
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import StoreError

MAX_BYTES: Final = 256
_CASES: Final = {
    "identity.user-not-found": "user-not-found",
    "identity.already-linked": "already-linked",
}


class AccountRecord(NamedTuple):
    """The records `identity-resolve-request` and `identity-unlink-request`."""

    platform: str
    platform_user_id: str


class ResolvedRecord(NamedTuple):
    """The record `identity-resolve-response`."""

    user_id: str
    display_name: str | None


class LinkRequestRecord(NamedTuple):
    """The record `identity-link-request`."""

    platform: str
    platform_user_id: str
    astrid_user_id: str
    method: str


class CreateUserRecord(NamedTuple):
    """The record `identity-create-user-request`."""

    display_name: str | None


class CreatedUserRecord(NamedTuple):
    """The record `identity-create-user-response`."""

    user_id: str


class PlatformLinkRecord(NamedTuple):
    """The record `platform-link`."""

    platform: str
    platform_user_id: str
    linked_at: str
    method: str


class IdentityHost(HostPackage):
    """The functions of `astrid:identity/host@1.0.0`."""

    interface = "astrid:identity/host@1.0.0"
    quota_case = None

    @classmethod
    def foreseen(cls, error: Exception) -> WitError | None:
        """As the base class says."""
        if isinstance(error, IdentityError):
            return WitError(_CASES.get(error.code, "invalid-input"))
        return WitError("store-unavailable") if isinstance(error, StoreError) else None

    @handles("identity-resolve")
    def resolve(self, request: AccountRecord) -> ResolvedRecord:
        """The user behind an account."""
        platform, account = request
        identities = self._allowed("resolve", platform=platform)
        _check_account(platform, account)
        self._record("resolve", platform, account)
        found = identities.account(platform, account)
        if found is None:
            raise WitError("link-not-found")
        user = identities.user(found.astrid_user_id)
        if user is None:
            raise WitError("user-not-found")
        return ResolvedRecord(user.id, user.display_name)

    @handles("identity-link")
    def link(self, request: LinkRequestRecord) -> None:
        """Say whose account it is; another's account stays the other's."""
        platform, account, user_id, method = request
        user_id = check_uuid(user_id)
        identities = self._allowed("link", platform=platform)
        _check_account(platform, account)
        check_label(method, limit_bytes=MAX_BYTES)
        self.instance.services.identity_records.admit(self.instance.context.id)
        self._record("link", platform, account, user_id=user_id)
        identities.link(platform, account, user_id, method=method, may_move=False)
        self.instance.package(UplinkHost).flush()

    @handles("identity-unlink")
    def unlink(self, request: AccountRecord) -> None:
        """Forget whose account it is."""
        platform, account = request
        identities = self._allowed("unlink", platform=platform)
        _check_account(platform, account)
        self._record("unlink", platform, account)
        if not identities.unlink(platform, account):
            raise WitError("link-not-found")

    @handles("identity-create-user")
    def create_user(self, request: CreateUserRecord) -> CreatedUserRecord:
        """Make a user, who acts for a principal of its own that nobody has."""
        (name,) = request
        identities = self._allowed("create-user", platform="")
        if name is not None:
            check_label(name, limit_bytes=MAX_BYTES, may_be_blank=True)
        self.instance.services.identity_records.admit(self.instance.context.id)
        self._record("create-user", "", "")
        return CreatedUserRecord(identities.create_user(name).id)

    @handles("identity-list-links")
    def list_links(self, user_id: str) -> list[PlatformLinkRecord]:
        """The accounts of a user, by platform and id."""
        user_id = check_uuid(user_id)
        identities = self._allowed("list-links", platform="")
        self._record("list-links", "", "", user_id=user_id)
        if identities.user(user_id) is None:
            raise WitError("user-not-found")
        return [_record_of(link) for link in identities.links(user_id)]

    def _allowed(self, verb: str, *, platform: str) -> Identities:
        instance = self.instance
        identities = instance.services.people.identities
        if identities is None:
            raise WitError("store-unavailable")
        instance.services.gate.check_identity(
            instance.grants,
            instance.principal,
            f"identity.{verb}",
            resource=platform[:MAX_BYTES],
        )
        return identities

    def _record(self, verb: str, platform: str, account: str, *, user_id: str = "") -> None:
        detail = {"platform": platform.strip().lower(), "user_id": user_id}
        known = {key: text for key, text in detail.items() if text}
        record(self.instance, f"identity.{verb}", resource=account, detail=known)


def _check_account(platform: str, account: str) -> None:
    check_label(platform, limit_bytes=MAX_BYTES)
    check_label(account, limit_bytes=MAX_BYTES)


def _record_of(link: Link) -> PlatformLinkRecord:
    return PlatformLinkRecord(link.platform, link.platform_user_id, link.linked_at, link.method)
