"""What a client of the daemon answers while the tool that it called asks: permission, or values.

Costs a call nothing but a subscription until something is asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from astrid_core.cli.output import current
from astrid_core.daemon.client_errors import RemoteError

if TYPE_CHECKING:
    from astrid_core.cli.attending import Attendant
    from astrid_core.daemon.client import DaemonClient, Message

_TOPICS: Final = ("astrid.v1.approval", "astrid.v1.elicit")
"""As `attending.TOPICS`, which loads more than a call needs that is asked nothing."""


class Consent(NamedTuple):
    """What the options of a command say to questions.

    Attributes:
        yes: Approve each, once.
        patterns: Approve what matches, once.
        waits: Wait for somebody else where nobody can be asked.
        values: Answers to install hooks, by key.
    """

    yes: bool = False
    patterns: tuple[str, ...] = ()
    waits: bool = False
    values: Mapping[str, str] = MappingProxyType({})

    def attendant(self, *, is_over: Callable[[], bool] = lambda: False) -> Attendant:
        """Who answers.

        Args:
            is_over: Whether nobody wants to know any more.

        Raises:
            ConfigError: A pattern is malformed.
        """
        # Imported here because few calls ask.
        from astrid_core.cli.attending import Attendant, Policy  # noqa: PLC0415
        from astrid_core.cli.terminal import Terminal, has_person  # noqa: PLC0415
        from astrid_core.domain.resource_pattern import ResourcePattern  # noqa: PLC0415

        output = current()
        policy = Policy(
            approves_once=self.yes,
            patterns=tuple(ResourcePattern(text) for text in self.patterns),
            waits=self.waits,
            values=self.values,
        )
        is_asked = not output.is_json and has_person()
        terminal = Terminal(output.stderr, is_over=is_over) if is_asked else None
        return Attendant(output, policy=policy, terminal=terminal)


def ask_before(client: DaemonClient, capsule: str) -> None:
    """On a terminal, ask what a daemon's capsule has not been told yet, before it is used.

    Raises:
        UnansweredError: The person gave no usable answer.
        RemoteError: The daemon did not take the answers.
    """
    if (
        current().is_json
        or os.environ.get("CI")
        or not (sys.stdin.isatty() and sys.stderr.isatty())
    ):
        return
    try:
        rows = client.request("GetCapsuleMetadata").data
    except RemoteError:
        return  # the call itself says what there is to say
    if any(row["name"] == capsule and row.get("questions") for row in rows):
        from astrid_core.cli.capsule_configure import ask_first  # noqa: PLC0415 - seldom

        ask_first(client, capsule)


NO_CONSENT: Final = Consent()
"""Somebody is asked, or nobody answers."""


def hearing(client: DaemonClient, consent: Consent) -> Callable[[Message], None] | None:
    """What answers the messages of a daemon; None where the principal may hear nothing."""
    try:
        # Both on their way before the first is answered: a call waits for one round only.
        asked = [client.send("Subscribe", {"pattern": topic}) for topic in _TOPICS]
        for request_id in asked:
            client.wait(request_id)
    except RemoteError:
        return None
    made: list[Callable[[Message], None]] = []

    def hear(message: Message) -> None:
        if not made:  # few calls ask
            made.append(answer_with(client, consent.attendant()))
        made[0](message)

    return hear


def answer_with(client: DaemonClient, attendant: Attendant) -> Callable[[Message], None]:
    """What gives an attendant's answers to a daemon.

    Args:
        client: Connected, and subscribed to questions.
        attendant: Answers.
    """

    def hear(message: Message) -> None:
        payload = message.payload
        if not isinstance(payload, dict):
            return
        if payload.get("status") == "Error":
            current().warning(f"the answer was not taken: {payload.get('data')}")
            return
        reply = attendant.answer(message.topic, payload)
        if reply is not None:
            client.publish(reply.topic, reply.payload)

    return hear
