"""What the kernel itself says on the bus: no principal, no source but the kernel."""

from __future__ import annotations

import time
from collections.abc import Mapping

from astrid_core.domain.payload import encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import Custom
from astrid_hookspecs.buses import Bus, Envelope


def publish_notice(bus: Bus, topic: str, data: Mapping[str, object]) -> None:
    """Publish an event of the kernel.

    Args:
        bus: Where to.
        topic: Below `astrid.v1.`.
        data: Encodable as JSON.
    """
    kind, payload = encode(Custom(data=dict(data)))
    bus.publish(Envelope(topic, payload, kind, timestamp=format_timestamp(time.time_ns())))
