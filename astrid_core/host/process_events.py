"""Publishes what happens to a process that a guest watches. Spec: host-abi 13.5."""

from __future__ import annotations

from typing import Final

from astrid_core.domain.payload import encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import Custom
from astrid_core.domain.process_events import EventKind, event_data, event_topics
from astrid_core.host.instance import Instance
from astrid_core.host.process_service import ExitInfo, Tell
from astrid_hookspecs.buses import Envelope

_NS_PER_S: Final = 1_000_000_000


def publishes(instance: Instance, process_id: str, *, suffix: str) -> Tell:
    """What to call about a process, from any thread and after the instance is gone.

    The events come from the kernel, for the principal that watches: only it hears them. What a
    claimed message caused to be watched stays a claim. A process is no publish, so they start a
    chain of their own.

    Args:
        instance: Whose principal watches.
        process_id: Which process.
        suffix: The last segment of the topics.

    Raises:
        ProcessRequestError: The suffix is no segment of a topic.
    """
    topics = event_topics(suffix)
    principal, attribution = instance.principal, instance.attribution
    bus, clock = instance.services.bus, instance.services.clock

    def tell(kind: EventKind, ended: ExitInfo | None) -> None:
        variant, payload = encode(Custom(data=event_data(process_id, ended)))
        bus.publish(
            Envelope(
                topic=topics[kind],
                payload=payload,
                kind=variant,
                principal=principal,
                attribution=attribution,
                timestamp=format_timestamp(int(clock.now() * _NS_PER_S)),
            )
        )

    return tell
