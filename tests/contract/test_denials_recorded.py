"""Every action that the gate can refuse is one that the audit log can record."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import astrid_core.security
from astrid_core.domain.audit_fields import action_json
from astrid_core.host.handlers import action_name, handler_table
from astrid_core.host.registry import PACKAGES

ACTIONS = sorted(
    {
        action
        for module in Path(*astrid_core.security.__path__).glob("*.py")
        for action in re.findall(r"""AuthzRequest\(\s*\w+,\s*f?"([^"]+)""", module.read_text())
    }
)


def test_the_actions_are_found() -> None:
    assert {"capsule.invoke", "client.speak-for", "kernel.request"} <= {*ACTIONS}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_refusal_can_be_recorded(action: str) -> None:
    assert action_json(action, capsule=None, resource="x", facts={"count": 2, "since": "now"})


@pytest.mark.parametrize("function", sorted({action_name(*key) for key in handler_table(PACKAGES)}))
def test_an_excess_of_a_host_function_can_be_recorded(function: str) -> None:
    assert action_json(function, capsule="x", resource="", facts={"count": 2, "since": "now"})
