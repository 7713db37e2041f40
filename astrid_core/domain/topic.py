"""Topics: what a valid one is, the two matchers, and which ones belong to the kernel.

Trusted with two decisions: whether a topic or pattern that a guest wrote is acceptable, and whether
a topic matches a pattern. There are two matchers on purpose and they are never interchangeable:
`matches_acl` (A) covers grants and interceptor bindings, `matches_receiver` (B) covers delivery to
subscriptions and listeners. Who may use a topic is decided in `security`, not here.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from astrid_core.domain.request_topics import (
    ADMIN_PREFIX,
    ADMIN_RESPONSE_PREFIX,
    REQUEST_PREFIX,
)
from astrid_hookspecs.errors import ProtocolError

MAX_TOPIC_BYTES: Final = 256
MAX_GUEST_SEGMENTS: Final = 8
MAX_RECEIVER_SEGMENTS: Final = 20
MAX_CAUSAL_DEPTH: Final = 8
"""Longest chain of publishes, each caused by the one before; deeper ones are refused [C-34]."""

WILDCARD: Final = "*"
EVERYTHING: Final = "**"
"""Pattern of kernel-side listeners and subscriptions that match each topic a receiver may see.

Guests cannot write it: `check_subscribe_pattern` refuses it like every other partial wildcard.
"""

READ_ONLY_METHODS: Final = frozenset(
    {"ListCapsules", "GetCommands", "GetCapsuleMetadata", "GetStatus"}
)
"""Kernel requests that change nothing, open to every capsule whose access list names the topic."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_:-]+")
_TOPIC: Final = re.compile(
    rf"{_SEGMENT.pattern}(?:\.{_SEGMENT.pattern}){{0,{MAX_GUEST_SEGMENTS - 1}}}"
)
TOOL_PREFIX: Final = "tool.v1.execute."
LLM_PREFIX: Final = "llm.v1.request.generate."
"""Before the name of a provider of models; what it says is on `LLM_STREAM`."""
LLM_STREAM: Final = "llm.v1.stream."
TOOLS_TOPIC: Final = "astrid.v1.tools_changed"
"""Says that there may be other tools now, and nothing about them."""
LAG_TOPIC: Final = "astrid.v1.event_bus.lagged"
"""Says how many events somebody did not receive."""
APPROVAL_TOPIC: Final = "astrid.v1.approval"
"""Says that a person has to decide."""
APPROVAL_ANSWERS: Final = "astrid.v1.approval.response."
"""Before the id of the request that a front end answers."""
ELICIT_TOPIC: Final = "astrid.v1.elicit"
"""Says that an install hook asks a person for something."""
ELICIT_ANSWERS: Final = "astrid.v1.elicit.response."
"""Before the id of the request that a front end answers."""
KERNEL_PREFIX: Final = "astrid.v1."
"""What the kernel says and is asked."""
PROCESS_EVENTS: Final = "astrid.process.v1."
"""Before the kind of what happened to a process and the suffix that its watcher chose."""
_RESERVED_PREFIXES: Final = (
    ADMIN_PREFIX,
    APPROVAL_ANSWERS,
    ELICIT_ANSWERS,
    "client.v1.",
)
_SAID_TO_THE_KERNEL: Final = (REQUEST_PREFIX, ADMIN_PREFIX, APPROVAL_ANSWERS, ELICIT_ANSWERS)
_SHOWN_CHARACTERS: Final = 80


class TopicError(ProtocolError):
    """A topic or topic pattern is malformed; guests see `invalid-input`."""

    default_code: ClassVar[str] = "topic.invalid"


def check_topic_length(topic: str) -> None:
    """Check only the length, which guests learn before their rate budget is looked at.

    Raises:
        TopicError: `topic.too-long`, more than 256 bytes of UTF-8.

    Spec: host-abi 10.1 step 1.
    """
    # The character count bounds the byte count from below, so hostile text is not encoded first.
    if len(topic) > MAX_TOPIC_BYTES or len(topic.encode(errors="replace")) > MAX_TOPIC_BYTES:
        raise TopicError(
            f"topic {_shown(topic)} is longer than {MAX_TOPIC_BYTES} bytes",
            code="topic.too-long",
            hint="shorten the segments; long values belong into the payload",
        )


def check_publish_topic(topic: str) -> None:
    """Check a topic that somebody wants to publish on.

    Raises:
        TopicError: Too long, an empty segment, more than 8 segments, or a character outside
            `A-Z a-z 0-9 _ : -`, which includes `*`.

    Spec: host-abi 10.1 steps 1 and 3.
    """
    if len(topic) <= MAX_TOPIC_BYTES and _TOPIC.fullmatch(topic) is not None:
        return  # every guest publish comes here; what follows finds out what is wrong
    check_topic_length(topic)
    for segment in _split_checked(topic):
        _check_segment(topic, segment)


def check_subscribe_pattern(pattern: str) -> None:
    """Check a pattern that a guest wants to subscribe to.

    Raises:
        TopicError: As for a topic, except that the last segment may be `*`.

    Spec: host-abi 10.2 step 1.
    """
    check_topic_length(pattern)
    *leading, last = _split_checked(pattern)
    for segment in leading:
        if segment == WILDCARD:
            raise TopicError(
                f"pattern {_shown(pattern)} has a wildcard before its last segment",
                code="topic.wildcard",
                hint="subscribe to a shorter pattern that ends in '.*' and filter what arrives",
            )
        _check_segment(pattern, segment)
    if last != WILDCARD:
        _check_segment(pattern, last)


def matches_acl(topic: str, pattern: str) -> bool:
    """Matcher A: publish and subscribe grants, interceptor bindings.

    Equal segment count; each pattern segment is `*` or equal; empty segments never match. For a
    subscribe grant, `topic` is the text of the requested pattern.

    Spec: capsules-and-bus 6.5 A.
    """
    if WILDCARD not in pattern:
        return topic == pattern and "" not in pattern.split(".")
    topic_segments = topic.split(".")
    pattern_segments = pattern.split(".")
    if len(topic_segments) != len(pattern_segments):
        return False
    return all(
        have and want and want in (WILDCARD, have)
        for have, want in zip(topic_segments, pattern_segments, strict=True)
    )


def matches_receiver(topic: str, pattern: str) -> bool:
    """Matcher B: delivery to subscriptions and listeners.

    A last segment `*` after others matches one or more segments, any other `*` exactly one. The
    segment count of patterns without it is strict [C-01]. Topics of more than 20 segments match
    nothing, not even `EVERYTHING`.

    Spec: capsules-and-bus 6.5 B.
    """
    topic_segments = topic.split(".")
    if len(topic_segments) > MAX_RECEIVER_SEGMENTS:
        return False
    if pattern == EVERYTHING:
        return True
    pattern_segments = pattern.split(".")
    if is_subtree(pattern_segments):
        if len(topic_segments) < len(pattern_segments):
            return False
        pattern_segments.pop()
        del topic_segments[len(pattern_segments) :]
    elif len(topic_segments) != len(pattern_segments):
        return False
    return all(
        want in (WILDCARD, have)
        for have, want in zip(topic_segments, pattern_segments, strict=True)
    )


def is_subtree(pattern_segments: list[str]) -> bool:
    """Whether matcher B reads the last segment of a split pattern as "one or more segments"."""
    return len(pattern_segments) > 1 and pattern_segments[-1] == WILDCARD


def is_reserved(topic: str, *, method: str | None = None) -> bool:
    """Whether only capsules with the `uplink` flag may publish on the topic, whatever their grants.

    Args:
        topic: A valid topic.
        method: The `method` of a `raw_json` payload, None when there is none. Below
            `astrid.v1.request.` it decides: requests that are not known to change nothing are
            reserved.

    Spec: host-abi 10.1, [H-17].
    """
    if topic.startswith(REQUEST_PREFIX):
        return method not in READ_ONLY_METHODS
    return topic.startswith(_RESERVED_PREFIXES)


def is_kernels_own(topic: str) -> bool:
    """Whether nobody but the kernel may publish on the topic, no front end either.

    Front ends and capsules act on what the kernel says there: they show people its questions, and
    take its news for true.
    """
    if topic.startswith((PROCESS_EVENTS, ADMIN_RESPONSE_PREFIX)):
        return True
    return topic.startswith(KERNEL_PREFIX) and not topic.startswith(_SAID_TO_THE_KERNEL)


def is_private(topic: str) -> bool:
    """Whether clients hear it in no subscription: what a person typed, which may be a secret."""
    return topic.startswith(ELICIT_ANSWERS)


def is_admin_request(topic: str) -> bool:
    """Whether the topic carries management requests; their answers are below the same prefix."""
    is_below = topic.startswith(ADMIN_PREFIX) and topic != ADMIN_PREFIX
    return is_below and not f"{topic}.".startswith(ADMIN_RESPONSE_PREFIX)


def _split_checked(text: str) -> list[str]:
    segments = text.split(".")
    if "" in segments:
        raise TopicError(
            f"topic {_shown(text)} has an empty segment",
            code="topic.empty-segment",
            hint="write segments separated by single dots, as in 'notes.v1.saved'",
        )
    if len(segments) > MAX_GUEST_SEGMENTS:
        raise TopicError(
            f"topic {_shown(text)} has {len(segments)} segments, at most {MAX_GUEST_SEGMENTS} "
            "are allowed",
            code="topic.too-deep",
            hint="join segments with hyphens or move detail into the payload",
        )
    return segments


def _check_segment(text: str, segment: str) -> None:
    if _SEGMENT.fullmatch(segment) is None:
        raise TopicError(
            f"topic {_shown(text)} has the segment {_shown(segment)}, which holds a character "
            "that topics do not allow",
            code="topic.character",
            hint="use letters, digits, underscores, colons and hyphens",
        )


def _shown(text: str) -> str:
    shown = ascii(text[:_SHOWN_CHARACTERS])
    return shown if len(text) <= _SHOWN_CHARACTERS else f"{shown}..."
