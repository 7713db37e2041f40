"""Lives in a run loop: beats, counts what it hears, and answers tools.

Everything happens in one instance, so plain variables keep what has been seen.
"""

from __future__ import annotations

import logging
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from astrid_sdk import RunLoop, install, interceptor, ipc, kv, run, sys, tool

log = logging.getLogger(__name__)


@dataclass
class Pulse:
    """What the capsule has done since it was started."""

    instance: str = ""
    since: str = ""
    beats: int = 0
    heard: int = 0
    echoes: int = 0


pulse = Pulse()


def wake() -> None:
    """Give this instance an identity, once. The module itself is imported at build time."""
    if not pulse.instance:
        pulse.instance = str(uuid.uuid4())
        pulse.since = datetime.now(UTC).isoformat(timespec="seconds")


@tool
def status() -> Pulse:
    """Say which instance this is, how many beats it sent and how many events it heard."""
    wake()
    return pulse


@tool
def roll(sides: int = 6) -> int:
    """Roll a die."""
    return random.randint(1, sides)  # noqa: S311 - a game


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
    wake()
    loop.subscribe("heartbeat.v1.echo.*")
    loop.ready()
    for event in loop.events(timeout=float(sys.config_json("BEAT_SECONDS", 1))):
        if event is None:
            pulse.beats += 1
            ipc.publish_json("heartbeat.v1.beat", {"beat": pulse.beats})
        else:
            pulse.echoes += 1
            log.info("echo on %s", event.topic)
