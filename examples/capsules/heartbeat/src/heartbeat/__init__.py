"""Lives in a run loop: beats, counts what it hears, and answers tools.

Everything happens in one instance, so plain variables keep what has been seen.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from astrid_sdk import RunLoop, install, interceptor, ipc, kv, run, sys, tool

log = logging.getLogger(__name__)


@dataclass
class Pulse:
    """What the capsule has done since it was started."""

    beats: int = 0
    heard: int = 0
    echoes: int = 0


pulse = Pulse()


@tool
def status() -> Pulse:
    """Say how many beats were sent and events were heard."""
    return pulse


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@interceptor("heartbeat.v1.heard")
def on_heard() -> None:
    """Count an event."""
    pulse.heard += 1
    kv.set_json("heard", pulse.heard)


@install
def first_time() -> None:
    """Leave a mark that the life-cycle hook has run."""
    kv.set_json("installed", {"at_ms": sys.clock_ms()})


@run
def main(loop: RunLoop) -> None:
    """Beat until the host stops us."""
    loop.subscribe("heartbeat.v1.echo.*")
    loop.ready()
    for event in loop.events(timeout=float(sys.config_json("BEAT_SECONDS", 1))):
        if event is None:
            pulse.beats += 1
            ipc.publish_json("heartbeat.v1.beat", {"beat": pulse.beats})
        else:
            pulse.echoes += 1
            log.info("echo on %s", event.topic)
