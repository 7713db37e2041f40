"""What a capsule asks for, in words an operator can agree to.

Trusted with completeness: everything in a manifest that reaches beyond the capsule's own memory is
listed, and an upgrade is compared request by request. Pure. Spec: cli-and-ux 12.3, T-28.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from astrid_core.domain.manifest import Manifest


class Request(NamedTuple):
    """One thing a capsule asks for.

    Attributes:
        kind: `network`, `listen`, `read`, `write`, `process`, `identity`, `ask`, `model`, `secret`,
            `publish`, `subscribe`, `intercept`, `shadow`, `uplink`, `prompt` or `persistent`.
        value: What exactly; empty where the kind says it all.
    """

    kind: str
    value: str = ""

    @property
    def sentence(self) -> str:
        """For people: one line, in which nothing invisible hides and no second line is forged."""
        return _SENTENCES[self.kind].format(_shown(self.value))


def _shown(value: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


_SENTENCES: Final = {
    "network": "connect to {} over the network",
    "listen": "listen on {}",
    "read": "read files in {}",
    "write": "change files in {}",
    "process": "start the program {} on this machine",
    "identity": "look into user identities ({})",
    "ask": "let the tool server {} ask you questions and have the answers",
    "model": "let the tool server {} ask a model, each time or as often as you agree",
    "secret": "use the secret {}",
    "publish": "publish events on {}",
    "subscribe": "receive events on {}",
    "intercept": "intercept events on {}",
    "shadow": "answer calls of a tool that another capsule offers already: {}",
    "uplink": "speak for other users as a front end",
    "prompt": "put text into prompts",
    "persistent": "keep processes running",
    "serve": "let programs of this user connect to it, at a local socket",
}
_LISTS: Final = {
    "net": "network",
    "net_connect": "network",
    "net_udp": "network",
    "net_tcp_bind": "listen",
    "fs_read": "read",
    "fs_write": "write",
    "host_process": "process",
    "identity": "identity",
    "mcp_elicitation": "ask",
    "mcp_sampling": "model",
}
_FLAGS: Final = {
    "uplink": "uplink",
    "allow_prompt_injection": "prompt",
    "allow_persistent": "persistent",
    "net_bind": "serve",
}
_DESCRIBE: Final = {"tool.v1.request.describe"}
_ANSWERS: Final = ("tool.v1.response.describe.",)


class Consent(NamedTuple):
    """What to ask the operator.

    Attributes:
        requests: Everything the capsule asks for, in a fixed order.
        added: Those that the installed version does not have; all of them on a first install.
        dropped: What the installed version asks for and this one does not.
    """

    requests: tuple[Request, ...]
    added: tuple[Request, ...]
    dropped: tuple[Request, ...]


def requests_of(manifest: Manifest) -> tuple[Request, ...]:
    """Everything a manifest asks for, each once. Answering one's own tools is not a request."""
    return tuple(dict.fromkeys((*_rights(manifest), *_topics(manifest))))


def compare(new: Manifest, old: Manifest | None, *, others: Iterable[Manifest] = ()) -> Consent:
    """What to ask before `new` takes the place of `old`.

    Args:
        new: About to be installed.
        old: What it replaces, None for a first installation.
        others: Every other installed capsule; a tool one of them offers is not the new one's own.
    """
    taken = {tool: other.name for other in others for tool in other.tool_names}
    requests = (*requests_of(new), *_shadows(new, taken))
    had = (*requests_of(old), *_shadows(old, taken)) if old is not None else ()
    return Consent(
        requests,
        added=tuple(request for request in requests if request not in had),
        dropped=tuple(request for request in had if request not in requests),
    )


def _rights(manifest: Manifest) -> Iterator[Request]:
    for name, kind in _FLAGS.items():
        if getattr(manifest.capabilities, name):
            yield Request(kind)
    for name, kind in _LISTS.items():
        for value in getattr(manifest.capabilities, name):
            yield Request(kind, value)
    for server in manifest.mcp_servers:
        if server.command is not None:
            # Quoted: `sh "-c x"` and `sh -c x` are different requests.
            yield Request("process", shlex.join((server.command, *server.args)))
    for key in manifest.secret_keys:
        yield Request("secret", key)


def _topics(manifest: Manifest) -> Iterator[Request]:
    own = _own_topics(manifest)
    for topic in manifest.effective_publish_acl:
        if topic not in own and not topic.startswith(_ANSWERS):
            yield Request("publish", topic)
    bound = dict.fromkeys(binding.topic for binding in manifest.interceptors)
    for topic in bound:
        if topic not in own:
            yield Request("intercept", topic)
    for topic in manifest.effective_subscribe_acl:
        if topic not in own and topic not in bound:
            yield Request("subscribe", topic)


def _shadows(manifest: Manifest, taken: Mapping[str, str]) -> Iterator[Request]:
    for tool in manifest.tool_names:
        if tool in taken:
            yield Request("shadow", f"{tool} of {taken[tool]}")


def _own_topics(manifest: Manifest) -> set[str]:
    topics = set(_DESCRIBE)
    for tool in manifest.tool_names:
        topics |= {f"tool.v1.execute.{tool}", f"tool.v1.execute.{tool}.result"}
    return topics
