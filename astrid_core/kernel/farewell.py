"""The last event of a kernel: capsules hear that it ends, and why, while they can still act.

Spec: kernel-and-security 1.5; capsules-and-bus 6.1.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from astrid_core.domain.payload import encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import RawJson
from astrid_core.kernel.dispatcher import Dispatcher
from astrid_hookspecs.buses import Envelope

SHUTDOWN_TOPIC: Final = "astrid.v1.lifecycle.kernel_shutdown"
FAREWELL_S: Final = 1.0
"""How long all interceptors together may take."""


def say_farewell(dispatcher: Dispatcher, reason: str) -> bool:
    """Bring the event to its interceptors and wait for them, for a moment.

    Args:
        dispatcher: Still running.
        reason: `closed`, or why a daemon ends: `signal`, `request`, `idle_timeout`.

    Returns:
        Whether all that were asked have answered.
    """
    kind, payload = encode(RawJson(value={"reason": reason}))
    stamp = format_timestamp(time.time_ns())
    done = threading.Event()
    asked = dispatcher.dispatch(
        Envelope(SHUTDOWN_TOPIC, payload, kind, timestamp=stamp), on_done=lambda _: done.set()
    )
    return not asked or done.wait(FAREWELL_S)
