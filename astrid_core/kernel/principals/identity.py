"""Users and links in the kernel's store; every change is durable before the call returns.

Trusted with attribution: an account resolves to the user it was linked to, or to nobody.
Spec: kernel-and-security 6, 16 D-36, D-37.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import msgspec

from astrid_core.domain.identity import (
    IdentityError,
    Link,
    User,
    account_id,
    index_name,
    is_reserved_principal,
    platform_name,
    principal_for,
)
from astrid_core.domain.payload_message import format_timestamp
from astrid_hookspecs.errors import StoreError
from astrid_hookspecs.stores import KvStore, KvWrite
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

NAMESPACE: Final = "system:identity"
OWNER_ACCOUNT: Final = "local"
OWNER_NAME: Final = "root"
_PAGE: Final = 500
_Record = TypeVar("_Record", User, Link)


class IdentityStore:
    """Who is behind an account. Safe from any thread.

    Args:
        kv: The kernel's store.
        new_id: Makes user ids.
    """

    def __init__(self, kv: KvStore, *, new_id: Callable[[], uuid.UUID] = uuid.uuid4) -> None:
        self._kv = kv
        self._new_id = new_id
        self._lock = threading.Lock()

    def create_user(
        self,
        display_name: str | None = None,
        *,
        principal: Principal | None = None,
        public_key: str | None = None,
    ) -> User:
        """Make a user.

        Args:
            display_name: Need not be unique; the last user with a name is found by it.
            principal: For whom it acts; None to derive one from the display name.
            public_key: Base64 of 32 bytes.

        Raises:
            IdentityError: `identity.principal`: the principal is reserved or another user's;
                `identity.display-name`.
            StoreError: It could not be written.
        """
        with self._lock:
            user_id = self._new_id()
            wanted = principal or principal_for(display_name, user_id)
            self._check_principal(wanted)
            return self._create(user_id, wanted, display_name=display_name, public_key=public_key)

    def ensure_owner(self) -> User:
        """The user behind the command line, made on first use.

        Raises:
            StoreError: It could not be read or written.

        Spec: kernel-and-security 6.4.
        """
        found = self.resolve("cli", OWNER_ACCOUNT)
        if found is not None:
            return found
        with self._lock:
            user = self._create(self._new_id(), DEFAULT_PRINCIPAL, display_name=OWNER_NAME)
        self.link("cli", OWNER_ACCOUNT, user.id, method="system")
        return user

    def user(self, user_id: str) -> User | None:
        """A user by its id."""
        return self._read(f"user/{user_id}", User)

    def find(self, display_name: str) -> User | None:
        """The last user that was given this display name."""
        name = index_name(display_name)
        user_id = None if name is None else self._kv.get(NAMESPACE, f"name/{name}")
        return None if user_id is None else self.user(user_id.decode())

    def link(
        self, platform: str, account: str, user_id: str, *, method: str, may_move: bool = True
    ) -> Link:
        """Say whose account this is.

        Args:
            platform: Name of the platform.
            account: The id there.
            user_id: Of the user.
            method: Who vouches for it.
            may_move: Whether an account that was another's moves.

        Raises:
            IdentityError: `identity.platform`, `.account`, `.method`, `.user-not-found`, or
                `.already-linked`.
            StoreError: It could not be written.
        """
        if not method.strip():
            raise IdentityError("the method of a link is blank", code="identity.method")
        made = Link(
            platform=platform_name(platform),
            platform_user_id=account_id(account),
            astrid_user_id=user_id,
            linked_at=format_timestamp(time.time_ns()),
            method=method,
        )
        with self._lock:
            if self.user(user_id) is None:
                raise IdentityError(
                    f"there is no user {user_id[:64]!r}", code="identity.user-not-found"
                )
            before = self._read(_link_key(made), Link)
            if not may_move and before is not None and before.astrid_user_id != user_id:
                raise IdentityError(
                    f"this account on {made.platform!r} is another user's",
                    code="identity.already-linked",
                    hint="unlink it first",
                )
            write = KvWrite(_link_key(made), msgspec.json.encode(made))
            self._kv.apply(NAMESPACE, [write])
        return made

    def unlink(self, platform: str, account: str) -> bool:
        """Forget whose account this is; returns whether anybody's."""
        key = f"link/{platform_name(platform)}/{account_id(account)}"
        with self._lock:
            if self._kv.get(NAMESPACE, key) is None:
                return False
            self._kv.apply(NAMESPACE, [KvWrite(key, None)])
            return True

    def account(self, platform: str, account: str) -> Link | None:
        """The link of an account, whether its user is still there or not."""
        return self._read(f"link/{platform_name(platform)}/{account_id(account)}", Link)

    def resolve(self, platform: str, account: str) -> User | None:
        """The user behind an account; None when it is nobody's, or that user is gone."""
        found = self.account(platform, account)
        return None if found is None else self.user(found.astrid_user_id)

    def delete_user(self, user_id: str) -> bool:
        """Remove a user and all its links; returns whether there was one."""
        with self._lock:
            user = self.user(user_id)
            if user is None:
                return False
            writes = [KvWrite(_link_key(link), None) for link in self.links(user_id)]
            name = index_name(user.display_name)
            if name is not None and self._kv.get(NAMESPACE, f"name/{name}") == user_id.encode():
                writes.append(KvWrite(f"name/{name}", None))
            self._kv.apply(NAMESPACE, [*writes, KvWrite(f"user/{user_id}", None)])
            return True

    def users(self) -> list[User]:
        """All users, in the order of their ids."""
        return [user for key in self._keys("user/") if (user := self._read(key, User)) is not None]

    def links(self, user_id: str | None = None) -> list[Link]:
        """The links of one user, or all of them, by platform and account."""
        every = (self._read(key, Link) for key in self._keys("link/"))
        found = [
            link for link in every if link is not None and user_id in (None, link.astrid_user_id)
        ]
        return sorted(found, key=lambda link: (link.platform, link.platform_user_id))

    def _check_principal(self, wanted: Principal) -> None:
        is_taken = any(user.principal.lower() == wanted.lower() for user in self.users())
        if is_taken or is_reserved_principal(wanted):
            why = "is another user's" if is_taken else "is reserved"
            raise IdentityError(
                f"the principal {wanted!r} {why}",
                code="identity.principal",
                hint="choose another principal for this user",
            )

    def _create(
        self,
        user_id: uuid.UUID,
        principal: Principal,
        *,
        display_name: str | None,
        public_key: str | None = None,
    ) -> User:
        user = User(
            id=str(user_id),
            principal=principal,
            public_key=public_key,
            display_name=display_name,
            created_at=format_timestamp(time.time_ns()),
        )
        writes = [KvWrite(f"user/{user.id}", msgspec.json.encode(user))]
        if (name := index_name(display_name)) is not None:
            writes.append(KvWrite(f"name/{name}", user.id.encode()))
        self._kv.apply(NAMESPACE, writes)
        return user

    def _keys(self, prefix: str) -> Iterator[str]:
        after, more = None, True
        while more:
            keys, more = self._kv.keys(NAMESPACE, prefix, after=after, limit=_PAGE)
            yield from keys
            after = keys[-1] if keys else None

    def _read(self, key: str, kind: type[_Record]) -> _Record | None:
        value = self._kv.get(NAMESPACE, key)
        if value is None:
            return None
        try:
            return msgspec.json.decode(value, type=kind)
        except msgspec.MsgspecError as error:
            raise StoreError(
                f"the record {key!r} of the identity store is damaged",
                code="identity.damaged",
                hint="restore var/ from a backup",
            ) from error


def _link_key(link: Link) -> str:
    return f"link/{link.platform}/{link.platform_user_id}"
