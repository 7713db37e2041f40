"""Names by the manifest, addresses by where they lead, both reported when refused."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from astrid_core.domain.egress import parse_egress
from astrid_core.security.checked import CheckedAddress
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import Verdict, Vote
from astrid_hookspecs.errors import CapabilityDeniedError, PolicyDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal

ALICE = Principal("alice")
GRANTS = CapsuleGrants(
    CapsuleId("web"), net=("example.org", "10.0.0.1"), net_connect=("db.example:5432",)
)


class Log:
    def __init__(self, *votes: Vote) -> None:
        self.refused: list[DecisionEvent] = []
        ballots = [("policy", vote) for vote in votes]
        self.gate = Gate(votes=(lambda _: ballots) if votes else None, decided=self.refused.append)


def test_44_a_request_denied_when_no_entry_covers_the_host() -> None:
    log = Log()
    nothing = CapsuleGrants(CapsuleId("web"))
    with pytest.raises(CapabilityDeniedError, match=r"'evil\.test'") as caught:
        log.gate.check_http(nothing, ALICE, scheme="https", host="evil.test", port=443)
    assert caught.value.rule == "net"
    assert [(e.action, e.resource) for e in log.refused] == [
        ("http.request", "https://evil.test:443")
    ]
    granted = log.gate.check_http(GRANTS, ALICE, scheme="http", host="a.example.org", port=80)
    assert granted.rule == "net:example.org"


def test_a_policy_can_refuse_what_the_manifest_allows() -> None:
    log = Log(Vote(Verdict.DENY, "not today", "calendar"))
    with pytest.raises(PolicyDeniedError):
        log.gate.check_http(GRANTS, ALICE, scheme="https", host="example.org", port=443)


def test_a_connection_denied_when_no_entry_covers_the_endpoint() -> None:
    log = Log()
    rule = log.gate.check_connect(GRANTS, ALICE, host="DB.example", port=5432).rule
    assert rule == "net_connect:db.example:5432"
    assert log.gate.check_connect(GRANTS, ALICE, host="db.example", port=None).rule == rule
    for host, port in (("db.example", 22), ("other", None), ("::1", 22)):
        with pytest.raises(CapabilityDeniedError):
            log.gate.check_connect(GRANTS, ALICE, host=host, port=port)
    assert [e.resource for e in log.refused] == ["db.example:22", "other", "[::1]:22"]


@pytest.mark.parametrize("consent", ["10.0.0.0/8:80", "10.0.0.1:*"])
def test_an_address_inside_denied_without_consent(consent: str) -> None:
    log = Log()
    grant = log.gate.check_http(GRANTS, ALICE, scheme="http", host="10.0.0.1", port=80)
    inside = ip_address("10.0.0.1")

    def check(port: int, *rules: str) -> CheckedAddress:
        return log.gate.check_address(
            GRANTS,
            ALICE,
            inside,
            port,
            grant=grant,
            host="10.0.0.1",
            consent=[parse_egress(rule) for rule in rules],
        )

    with pytest.raises(CapabilityDeniedError, match=r"10\.0\.0\.0/8") as caught:
        check(80)
    assert caught.value.rule == "network.local-egress"
    with pytest.raises(CapabilityDeniedError):
        check(80, "10.0.0.2:80")
    checked = check(80, "10.0.0.2:80", consent)
    assert (checked.address, checked.port) == (inside, 80)
    assert checked.rule.startswith("network.local-egress:10.0.0.")
    assert [e.action for e in log.refused] == ["net.address", "net.address"]


def test_a_public_address_needs_no_consent() -> None:
    log = Log()
    grant = log.gate.check_http(GRANTS, ALICE, scheme="http", host="example.org", port=80)
    checked = log.gate.check_address(
        GRANTS, ALICE, ip_address("8.8.8.8"), 80, grant=grant, host="example.org", consent=()
    )
    assert checked.rule == "net:example.org"
    with pytest.raises(TypeError, match="only the gate"):
        CheckedAddress(ip_address("8.8.8.8"), 80, "h", "r", object())


SOCKETS = CapsuleGrants(
    CapsuleId("web"),
    net_tcp_bind=("127.0.0.1:*", "[::1]:80"),
    net_udp=("bind:127.0.0.1:*", "send:dns.example:53", "ntp.example:123"),
)


def test_listening_denied_when_no_entry_covers_the_place() -> None:
    log = Log()
    rule = log.gate.check_listen(SOCKETS, ALICE, host="127.0.0.1", port=8080).rule
    assert rule == "net_tcp_bind:127.0.0.1:*"
    assert log.gate.check_listen(SOCKETS, ALICE, host="::1", port=80)
    for host in ("0.0.0.0", "::1"):  # noqa: S104 - refused
        with pytest.raises(CapabilityDeniedError) as caught:
            log.gate.check_listen(SOCKETS, ALICE, host=host, port=22)
        assert caught.value.rule == "net_tcp_bind"
    assert [e.resource for e in log.refused] == ["tcp://0.0.0.0:22", "tcp://[::1]:22"]


@pytest.mark.parametrize(
    ("verb", "host", "port", "rule"),
    [
        ("bind", "127.0.0.1", 5353, "net_udp:bind:127.0.0.1:*"),
        ("send", "DNS.example", 53, "net_udp:send:dns.example:53"),
        ("send", "ntp.example", 123, "net_udp:ntp.example:123"),
    ],
)
def test_datagrams_that_an_entry_covers(verb: str, host: str, port: int, rule: str) -> None:
    log = Log()
    assert log.gate.check_datagrams(SOCKETS, ALICE, verb=verb, host=host, port=port).rule == rule


@pytest.mark.parametrize(
    ("verb", "host", "port"),
    [("bind", "ntp.example", 123), ("send", "127.0.0.1", 5353), ("send", "dns.example", 54)],
)
def test_datagrams_denied_when_no_entry_covers_them(verb: str, host: str, port: int) -> None:
    log = Log()
    with pytest.raises(CapabilityDeniedError) as caught:
        log.gate.check_datagrams(SOCKETS, ALICE, verb=verb, host=host, port=port)
    assert caught.value.rule == "net_udp"
    assert [e.action for e in log.refused] == [f"net.{verb}"]


def test_a_policy_can_refuse_sockets() -> None:
    log = Log(Vote(Verdict.DENY, "not today", "calendar"))
    with pytest.raises(PolicyDeniedError):
        log.gate.check_listen(SOCKETS, ALICE, host="127.0.0.1", port=1)
    with pytest.raises(PolicyDeniedError):
        log.gate.check_datagrams(SOCKETS, ALICE, verb="bind", host="127.0.0.1", port=1)


def test_of_a_names_addresses_those_remain_that_may_be_used() -> None:
    log = Log()
    grant = log.gate.check_http(GRANTS, ALICE, scheme="http", host="example.org", port=80)
    inside, outside = ip_address("10.0.0.2"), ip_address("93.184.216.34")

    def check(*addresses: IPv4Address | IPv6Address) -> list[CheckedAddress]:
        return log.gate.check_some_address(
            GRANTS, ALICE, addresses, 80, grant=grant, host="example.org", consent=[]
        )

    assert [one.address for one in check(inside, outside, inside)] == [outside]
    assert len(log.refused) == 2
    with pytest.raises(CapabilityDeniedError) as caught:
        check(inside, inside)
    assert caught.value.rule == "network.local-egress"
