"""What host functions ask of the kernel where people are concerned, as Protocols.

Spec: host-abi 3, 4, 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from astrid_core.domain.approval import State
from astrid_core.domain.elicitation import Answer, Elicitation
from astrid_core.domain.identity import Link, User
from astrid_hookspecs.cancel import WaitSource
from astrid_hookspecs.values import CapsuleId, Principal

Pause: TypeAlias = Callable[[Sequence[WaitSource], float], bool]
"""Waits for one of the sources, or so many seconds; whether who asked went away meanwhile."""


class Approver(Protocol):
    """Asks people for a yes."""

    def decide(
        self, principal: Principal, capsule: CapsuleId, action: str, *, resource: str, pause: Pause
    ) -> State | None:
        """Ask, wait and use the yes.

        Args:
            principal: For whom the capsule acts, and who is asked.
            capsule: Which one asks.
            action: What it wants to do.
            resource: To what.
            pause: Waits for the answer.

        Returns:
            The yes; None when an earlier one answered.

        Raises:
            ApprovalDeniedError: A no, or none in time.
            ApprovalError: It cannot be shown; nobody was asked.
            BudgetExceededError: It tells a cost that is more than is left; nobody was asked.
            QuotaExceededError: Too much waits for an answer.
            AuditError, StoreError: It could not be recorded or kept.
        """
        ...


class Elicitor(Protocol):
    """Asks people for values."""

    def ask(
        self, principal: Principal, capsule: CapsuleId, question: Elicitation, *, pause: Pause
    ) -> Answer:
        """Ask and wait.

        Args:
            principal: Who is asked.
            capsule: Which one asks.
            question: What.
            pause: Waits for the answer.

        Raises:
            ElicitError: There is no answer, or it is of another kind.
            QuotaExceededError: Too much waits for an answer.
            AuditError: It could not be recorded.
        """
        ...


class Identities(Protocol):
    """Users and their accounts. `astrid_core.kernel.principals.identity.IdentityStore` is one.

    Every method raises `IdentityError` for fields that cannot be, and `StoreError`.
    """

    def create_user(self, display_name: str | None = None) -> User:
        """Make a user whose principal follows from the name."""
        ...

    def user(self, user_id: str) -> User | None:
        """A user by id."""
        ...

    def account(self, platform: str, account: str) -> Link | None:
        """The link of an account, whether its user is still there or not."""
        ...

    def link(
        self, platform: str, account: str, user_id: str, *, method: str, may_move: bool = True
    ) -> Link:
        """Say whose account it is."""
        ...

    def unlink(self, platform: str, account: str) -> bool:
        """Forget whose account it is."""
        ...

    def links(self, user_id: str | None = None) -> list[Link]:
        """The links of a user, by platform and account."""
        ...


@dataclass(frozen=True, slots=True)
class People:
    """What there is; what is None answers every call with a failure of its store.

    Attributes:
        approver: For `astrid:approval`.
        elicitor: For `astrid:elicit`.
        identities: For `astrid:identity` and `astrid:uplink`.
    """

    approver: Approver | None = None
    elicitor: Elicitor | None = None
    identities: Identities | None = None
