"""What the bus says about processes that somebody watches: topics and payloads.

Spec: host-abi 13.5.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from astrid_core.domain.process_request import ProcessRequestError
from astrid_core.domain.topic import PROCESS_EVENTS, TopicError, check_publish_topic

EventKind: TypeAlias = Literal["exited", "log-ready"]
EVENT_KINDS: Final[tuple[EventKind, ...]] = ("exited", "log-ready")


def event_topics(suffix: str) -> dict[EventKind, str]:
    """The topic of each kind of event.

    Args:
        suffix: What a guest chose; one segment of a topic.

    Raises:
        ProcessRequestError: It is none, or the topic would be too long.
    """
    topics: dict[EventKind, str] = {
        kind: f"{PROCESS_EVENTS}{kind}.{suffix}" for kind in EVENT_KINDS
    }
    try:
        if "." in suffix:
            raise ProcessRequestError("the suffix of a watch is one segment, without dots")
        for topic in topics.values():
            check_publish_topic(topic)
    except TopicError as error:
        raise ProcessRequestError(f"the suffix of a watch: {error.message}") from error
    return topics


def event_data(process_id: str, ended: tuple[int | None, int | None] | None) -> dict[str, object]:
    """The payload of an event.

    Args:
        process_id: Which process.
        ended: Its exit code and the signal that ended it, as `status` has them; None while it runs.
    """
    data: dict[str, object] = {"id": process_id}
    if ended is not None:
        exit_code, signal = ended
        data["exit"] = {"exit_code": exit_code, "signal": signal}
    return data
