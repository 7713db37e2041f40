"""What a capsule's declarations mean for its manifest: which topics it serves and answers on.

The builder writes these into `Capsule.toml`; the test harness grants them.

Spec: capsules-and-bus 8.1, 8.4.
"""

from __future__ import annotations

from typing import NamedTuple

from astrid_sdk.declarations import (
    COMMAND_ACTION,
    COMMAND_TOPIC,
    DEFAULT_PRIORITY,
    DESCRIBE_ACTION,
    DESCRIBE_TOPIC,
    EXECUTE_PREFIX,
    Capsule,
)

DESCRIBE_ANSWER = "tool.v1.response.describe.*"


class Route(NamedTuple):
    """Events on `topic` go to `action`; `tool` names the tool it belongs to, if any."""

    topic: str
    action: str
    priority: int = DEFAULT_PRIORITY
    tool: str | None = None


class Routes(NamedTuple):
    """Entries a manifest needs.

    Attributes:
        subscribe: Handlers, in the order of declaration.
        publish: Topics of answers.
    """

    subscribe: tuple[Route, ...]
    publish: tuple[str, ...]


def execute_topic(tool: str) -> str:
    """Where calls of a tool arrive."""
    return f"tool.v1.execute.{tool}"


def result_topic(tool: str) -> str:
    """Where results of a tool go."""
    return f"tool.v1.execute.{tool}.result"


def routes_of(capsule: Capsule) -> Routes:
    """The entries for everything the capsule declares."""
    subscribe = [
        Route(execute_topic(name), EXECUTE_PREFIX + name, tool=name) for name in capsule.tools
    ]
    publish = [result_topic(name) for name in capsule.tools]
    if capsule.tools:
        subscribe.append(Route(DESCRIBE_TOPIC, DESCRIBE_ACTION))
        publish.append(DESCRIBE_ANSWER)
    subscribe += [
        Route(item.topic, item.action, item.priority) for item in capsule.interceptors.values()
    ]
    if capsule.commands:
        subscribe.append(Route(COMMAND_TOPIC, COMMAND_ACTION))
    return Routes(tuple(subscribe), tuple(publish))
