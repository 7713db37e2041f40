"""The people of the fake host: who approves, who answers, and whose account is whose.

Spec: host-abi 3, 4, 8, 15.
"""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from astrid_sdk.testing.cases import require

MAX_ACTION: Final = 256
MAX_UPLINKS: Final = 32
_LEVELS: Final = ("resolve", "link", "admin")
_LINKED_AT: Final = "2023-11-14T22:13:20Z"


@dataclass
class People:
    """What a test says about people.

    Attributes:
        approves: Decision by action, as the WIT names it; one that is missing gets no answer.
        answers: Text, or lines, by the key of the question; one that is missing is cancelled.
        asked: Actions and resources that somebody was asked about.
        is_installing: Whether an install or upgrade hook runs.
        users: Display names by user id.
        links: User ids by (platform, account).
        uplinks: (name, platform, profile) by id.
        said: What front ends handed in: id, account, text.
    """

    approves: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str | list[str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    is_installing: bool = False
    users: dict[str, str | None] = field(default_factory=dict)
    links: dict[tuple[str, str], str] = field(default_factory=dict)
    uplinks: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    said: list[tuple[str, str, str]] = field(default_factory=list)


class Host(Protocol):
    """What is needed of the fake host."""

    people: People
    config: dict[str, str]
    capabilities: set[str]


class ApprovalDecision(enum.Enum):
    """As the generated enum."""

    DENIED = 0
    APPROVED = 1
    APPROVED_SESSION = 2
    APPROVED_ALWAYS = 3
    ALLOWANCE = 4


class Asked(NamedTuple):
    """As the generated record."""

    action: str
    target_resource: str


class ApprovalResponse(NamedTuple):
    """As the generated record."""

    decision: ApprovalDecision


class FakeApproval:
    """Functions and types of `astrid:approval/host`."""

    ApprovalRequest = Asked

    def __init__(self, host: Host) -> None:
        self._host = host

    def request_approval(self, request: Asked) -> ApprovalResponse:
        """What the test says about the action."""
        require(len(request.action) <= MAX_ACTION, case="invalid-input")
        self._host.people.asked.append((request.action, request.target_resource))
        decision = self._host.people.approves.get(request.action)
        detail = f"harness.host.people.approves[{request.action!r}] is not set"
        require(decision is not None, case="timeout", detail=detail)
        return ApprovalResponse(ApprovalDecision[str(decision).upper().replace("-", "_")])


class QuestionKind(enum.Enum):
    """As the generated enum."""

    TEXT = 0
    SECRET = 1
    SELECT = 2
    ARRAY = 3


class Question(NamedTuple):
    """As the generated record."""

    kind: QuestionKind
    key: str
    description: str
    options: list[str] | None
    default_value: str | None


class ElicitResponse(NamedTuple):
    """Stands for the generated cases, which have the same field."""

    value: str | list[str] | None


class FakeElicit:
    """Functions and types of `astrid:elicit/host`."""

    ElicitType = QuestionKind
    ElicitRequest = Question

    def __init__(self, host: Host) -> None:
        self._host = host

    def elicit(self, request: Question) -> ElicitResponse:
        """What the test says under the key."""
        require(self._host.people.is_installing, case="not-in-lifecycle")
        is_choice = request.kind is QuestionKind.SELECT
        require(bool(request.options) or not is_choice, case="invalid-input")
        answer = self._host.people.answers.get(request.key)
        detail = f"harness.host.people.answers[{request.key!r}] is not set"
        require(answer is not None, case="cancelled", detail=detail)
        if request.kind is QuestionKind.ARRAY:
            return ElicitResponse(answer if isinstance(answer, list) else [str(answer)])
        require(not is_choice or answer in (request.options or ()), case="invalid-input")
        if request.kind is not QuestionKind.SECRET:
            return ElicitResponse(answer)
        require(bool(answer), case="invalid-input")
        self._host.config[request.key] = str(answer)
        return ElicitResponse(None)

    def has_secret(self, key: str) -> bool:
        """Whether there is something under the key."""
        require(bool(key) and ":" not in key, case="invalid-input")
        return key in self._host.config


class Account(NamedTuple):
    """As the generated record; so are those below."""

    platform: str
    platform_user_id: str


class IdentityResolveResponse(NamedTuple):
    """See `Account`."""

    user_id: str
    display_name: str | None


class NewLink(NamedTuple):
    """See `Account`."""

    platform: str
    platform_user_id: str
    astrid_user_id: str
    method: str


class NewUser(NamedTuple):
    """See `Account`."""

    display_name: str | None


class IdentityCreateUserResponse(NamedTuple):
    """See `Account`."""

    user_id: str


class PlatformLink(NamedTuple):
    """See `Account`."""

    platform: str
    platform_user_id: str
    linked_at: str
    method: str


class FakeIdentity:
    """Functions and types of `astrid:identity/host`.

    The capability `identity` is the level `admin`; `identity:link` and `identity:resolve` are lower
    ones.
    """

    IdentityResolveRequest = Account
    IdentityUnlinkRequest = Account
    IdentityLinkRequest = NewLink
    IdentityCreateUserRequest = NewUser

    def __init__(self, host: Host) -> None:
        self._host = host

    def identity_resolve(self, request: Account) -> IdentityResolveResponse:
        """Whose account it is."""
        self._require("resolve")
        user_id = self._host.people.links.get(_account(*request))
        require(user_id is not None, case="link-not-found")
        require(user_id in self._host.people.users, case="user-not-found")
        return IdentityResolveResponse(str(user_id), self._host.people.users[str(user_id)])

    def identity_link(self, request: NewLink) -> None:
        """Note whose account it is."""
        self._require("link")
        account, user_id = _account(*request[:2]), request.astrid_user_id
        require(user_id in self._host.people.users, case="user-not-found")
        require(self._host.people.links.get(account, user_id) == user_id, case="already-linked")
        self._host.people.links[account] = user_id

    def identity_unlink(self, request: Account) -> None:
        """Forget whose account it is."""
        self._require("link")
        gone = self._host.people.links.pop(_account(*request), None)
        require(gone is not None, case="link-not-found")

    def identity_create_user(self, request: NewUser) -> IdentityCreateUserResponse:
        """Make a user."""
        self._require("admin")
        user_id = str(uuid.uuid4())
        self._host.people.users[user_id] = request.display_name
        return IdentityCreateUserResponse(user_id)

    def identity_list_links(self, astrid_user_id: str) -> list[PlatformLink]:
        """The accounts of a user."""
        self._require("link")
        require(astrid_user_id in self._host.people.users, case="user-not-found")
        return [
            PlatformLink(*account, _LINKED_AT, "fake")
            for account, owner in sorted(self._host.people.links.items())
            if owner == astrid_user_id
        ]

    def _require(self, level: str) -> None:
        enough = _LEVELS[_LEVELS.index(level) :]
        held = {"identity", *(f"identity:{name}" for name in enough)}
        require(bool(held & self._host.capabilities), case="capability-denied")


class HostUplinkProfile(enum.Enum):
    """As the generated enum."""

    CHAT = 0
    INTERACTIVE = 1
    NOTIFY = 2
    BRIDGE = 3


class FakeUplink:
    """Functions and types of `astrid:uplink/host`."""

    UplinkProfile = HostUplinkProfile

    def __init__(self, host: Host) -> None:
        self._host = host

    def uplink_register(self, name: str, platform: str, profile: HostUplinkProfile) -> str:
        """Note a front end."""
        require("uplink" in self._host.capabilities, case="capability-denied")
        require(bool(name.strip() and platform.strip()), case="invalid-input")
        require(len(self._host.people.uplinks) < MAX_UPLINKS, case="quota")
        made = (name, platform.strip().lower(), profile.name.lower())
        known = [uplink[:2] for uplink in self._host.people.uplinks.values()]
        require(made[:2] not in known, case="invalid-input")
        uplink_id = str(uuid.uuid4())
        self._host.people.uplinks[uplink_id] = made
        return uplink_id

    def uplink_send(self, uplink_id: str, platform_user_id: str, content: str) -> bool:
        """Keep what was said."""
        require("uplink" in self._host.capabilities, case="capability-denied")
        require(bool(platform_user_id.strip()), case="invalid-input")
        require(uplink_id in self._host.people.uplinks, case="unknown-uplink")
        self._host.people.said.append((uplink_id, platform_user_id, content))
        return True


def modules(host: Host) -> dict[str, Any]:
    """The four interfaces, by short name."""
    return {
        "approval": FakeApproval(host),
        "elicit": FakeElicit(host),
        "identity": FakeIdentity(host),
        "uplink": FakeUplink(host),
    }


def _account(platform: str, account: str) -> tuple[str, str]:
    require(bool(platform.strip() and account.strip()), case="invalid-input")
    return platform.strip().lower(), account
