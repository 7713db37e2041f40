"""Every action that the gate can refuse is one that the audit log can record."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import astrid_core.security.gate as gate_module
from astrid_core.domain.audit_fields import action_json

ACTIONS = sorted(
    set(
        re.findall(
            r"""AuthzRequest\(\s*\w+,\s*f?"([^"]+)""", Path(gate_module.__file__).read_text()
        )
    )
)


def test_the_actions_are_found() -> None:
    assert {"capsule.invoke", "client.speak-for", "kernel.request"} <= {*ACTIONS}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_refusal_can_be_recorded(action: str) -> None:
    assert action_json(action, capsule=None, resource="x", facts={"count": 2, "since": "now"})
