"""Test a capsule without a kernel and without a component.

    harness = CapsuleHarness(my_capsule)
    assert harness.call_tool("hello", {"name": "Ada"}).content == "Hello, Ada!"

Not part of a built component.
"""

from __future__ import annotations

from astrid_sdk.testing.bus import Published
from astrid_sdk.testing.fake import FakeHost, LogLine
from astrid_sdk.testing.harness import CapsuleHarness
from astrid_sdk.testing.programs import Ran, Run
from astrid_sdk.testing.wire import Peer

__all__ = ["CapsuleHarness", "FakeHost", "LogLine", "Peer", "Published", "Ran", "Run"]
