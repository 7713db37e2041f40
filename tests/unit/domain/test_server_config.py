from __future__ import annotations

import pytest

from astrid_core.domain.server_config import ServersError, parse_servers

STDIO = '[servers.clock]\ncommand = "mcp-server-time"\n'
HTTP = '[servers.web]\ntransport = "http"\n'


def test_a_server_becomes_a_capsule_with_no_more_than_it_needs() -> None:
    text = (
        STDIO
        + 'args = ["-x"]\nsecrets = ["KEY"]\nshared = true\n[servers.clock.env]\nZONE = "UTC"\n'
    )
    (manifest,) = parse_servers(text)
    (server,) = manifest.mcp_servers
    assert (manifest.name, server.id, server.type) == ("clock", "clock", "stdio")
    assert (server.command, server.args, server.shared) == ("mcp-server-time", ("-x",), True)
    assert server.env == ("ZONE", "KEY")
    assert manifest.secret_keys == ("KEY",)
    assert manifest.capabilities.host_process == ("mcp-server-time",)
    assert manifest.capabilities.net == ()


def test_the_network_is_asked_for() -> None:
    (manifest,) = parse_servers(STDIO + "allow_network = true\n")
    assert manifest.capabilities.net == ("*",)


def test_a_server_asks_nobody_unless_the_file_says_so() -> None:
    (manifest,) = parse_servers(STDIO)
    assert manifest.capabilities.mcp_elicitation == manifest.capabilities.mcp_sampling == ()
    (manifest,) = parse_servers(STDIO + "allow_elicitation = true\n")
    assert manifest.capabilities.mcp_elicitation == ("clock",)
    assert manifest.capabilities.mcp_sampling == ()
    (manifest,) = parse_servers(STDIO + "allow_sampling = true\n")
    assert manifest.capabilities.mcp_sampling == ("clock",)


@pytest.mark.parametrize(
    ("url", "net"),
    [("https://a.example/mcp", ("a.example",)), ("nowhere", ()), ("https://[x/", ())],
)
def test_a_server_elsewhere_may_reach_its_own_host(url: str, net: tuple[str, ...]) -> None:
    (manifest,) = parse_servers(HTTP + f'url = "{url}"\nsecrets = ["T"]\nbearer = "T"\n')
    assert manifest.capabilities.net == net
    assert manifest.capabilities.host_process == ()
    assert manifest.mcp_servers[0].bearer == "T"


@pytest.mark.parametrize(
    "text",
    [
        "server = 1\n",
        "[servers.clock]\n",
        HTTP,
        '[servers."a.b"]\ncommand = "x"\n',
        '[servers.Clock]\ncommand = "x"\n',
        STDIO + "trusted = true\n",
        STDIO + 'cwd = "/"\n',
        STDIO + 'transport = "sse"\n',
        STDIO + 'bearer = "T"\n',
        STDIO + "unknown = 1\n",
        STDIO + "[servers.clock.env]\nN = 1\n",
        "[servers\n",
    ],
)
def test_file_refused_when_it_is_not_understood(text: str) -> None:
    with pytest.raises(ServersError):
        parse_servers(text)


def test_nothing_is_configured_in_an_empty_file() -> None:
    assert parse_servers("") == ()
