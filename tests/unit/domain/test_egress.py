"""Where guests may connect to. Numbers are those of the reference's vectors."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from astrid_core.domain.egress import datagram_matches, endpoint_matches, host_matches, parse_egress
from astrid_core.domain.ip_ranges import blocked_range, parse_address

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "100.63.255.255",
    "100.128.0.1",
    "198.20.0.1",
    "::ffff:8.8.8.8",
    "::8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
    "2606:4700:4700::1111",
    "2001:0:0808:0808:0:0:f7f7:f7f7",
]
OLD_V4 = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
]
OLD_V6 = [
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::10.0.0.1",
    "fe80::1",
    "febf::1",
    "fc00::1",
    "fdff::1",
    "ff02::1",
]
NEW_V4 = [
    "240.0.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.5",
    "192.88.99.1",
]
NEW_V6 = [
    "fec0::1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "2001:db8::1",
    "64:ff9b:1::1",
    "100::1",
    "2001:2::1",
    "5f00::1",
    "3fff::1",
    "fe80::1%eth0",
    "2606:4700::1%1",
    "2001:0:7f00:1:0:0:f7f7:f7f7",
    "2002:a9fe:a9fe::",
]


@pytest.mark.parametrize("text", PUBLIC, ids=[f"35-{text}" for text in PUBLIC])
def test_public_addresses_are_open(text: str) -> None:
    assert blocked_range(ip_address(text)) is None


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (number, text)
        for number, texts in ((36, OLD_V4), (37, OLD_V6), (38, NEW_V4), (39, NEW_V6))
        for text in texts
    ],
)
def test_an_address_refused_when_it_leads_inside(number: int, text: str) -> None:
    assert number
    assert blocked_range(ip_address(text)) is not None


@pytest.mark.parametrize(
    "text",
    ["200::1", "3ff::1", "400::1", "1000::1", "4000::1", "8000::1", "e000::1", "fe00::1",
     "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1", "100:0:0:1::1", "168.63.129.16"],
)  # fmt: skip
def test_an_address_refused_when_nobody_on_the_internet_has_it(text: str) -> None:
    assert blocked_range(ip_address(text)) is not None


@pytest.mark.parametrize("text", ["2001:200::1", "3ffe::1", "168.63.129.15", "168.63.129.17"])
def test_neighbours_of_refused_ranges_are_open(text: str) -> None:
    assert blocked_range(ip_address(text)) is None


def test_addresses_are_told_from_names() -> None:
    assert str(parse_address("::1")) == "::1"
    assert parse_address("example.org") is None
    assert parse_address("127.1") is None


@pytest.mark.parametrize(
    ("host", "entry", "matches"),
    [
        ("example.org", "example.org", True),
        ("a.example.org", "example.org", True),
        ("example.org", "EXAMPLE.org", True),
        ("badexample.org", "example.org", False),
        ("example.org.evil.test", "example.org", False),
        ("anything", "*", True),
        ("example.org", "", False),
        ("example.org", "a.example.org", False),
        ("10.0.0.1", "0.0.1", False),
        ("10.0.0.1", "10.0.0.1", True),
    ],
)
def test_43_hosts_of_requests(host: str, entry: str, *, matches: bool) -> None:
    assert host_matches(host, entry) is matches


@pytest.mark.parametrize(
    ("number", "host", "port", "entry", "matches"),
    [
        (65, "db.example", 5432, "db.example:5432", True),
        (65, "DB.EXAMPLE", 5432, "db.example:5432", True),
        (65, "db.example", 5433, "db.example:5432", False),
        (65, "x.db.example", 5432, "db.example:5432", False),
        (65, "api.example", 1, "api.example:*", True),
        (66, "a.example", 443, "*:443", False),
        (66, "a.example", 443, "a.example", False),
        (67, "api.example", None, "api.example:*", True),
        (67, "db.example", None, "db.example:5432", True),
        (67, "db.example", None, ":5432", False),
    ],
)
def test_endpoints(number: int, host: str, port: int | None, entry: str, *, matches: bool) -> None:
    assert number
    assert endpoint_matches(host, port, entry) is matches


@pytest.mark.parametrize(
    ("text", "address", "port", "covered"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.0.0.1:8080", "127.0.0.1", 8081, False),
        ("127.0.0.1:8080", "127.0.0.2", 8080, False),
        ("10.0.0.0/8:*", "10.1.2.3", 1, True),
        ("10.0.0.0/8:*", "::ffff:10.1.2.3", 1, True),
        ("10.0.0.0/8:*", "fd00::1", 1, False),
        ("[fd00::/8]:443", "fd12::1", 443, True),
        ("[::1]:*", "::1", 9, True),
    ],
)
def test_consent_is_about_addresses_and_ports(
    text: str, address: str, port: int, *, covered: bool
) -> None:
    assert parse_egress(text).covers(ip_address(address), port) is covered


def test_consent_reads_back() -> None:
    assert str(parse_egress("10.0.0.0/8:*")) == "10.0.0.0/8:*"
    assert str(parse_egress("127.0.0.1:80")) == "127.0.0.1/32:80"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("127.0.0.1", "needs a port"),
        (":80", "needs a port"),
        ("::1:80", "in brackets"),
        ("127.0.0.1:0", "a port is"),
        ("127.0.0.1:65536", "a port is"),
        ("127.0.0.1:x", "a port is"),
        ("127.0.0.1:²", "a port is"),
        ("localhost:80", "no address"),
        ("10.0.0.1/8:80", "no address"),
    ],
)
def test_consent_refused_when_malformed(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_egress(text)


@pytest.mark.parametrize(
    ("host", "port", "entry", "verb", "matches"),
    [
        ("127.0.0.1", 5, "bind:127.0.0.1:5", "bind", True),
        ("127.0.0.1", 5, "bind:127.0.0.1:*", "bind", True),
        ("127.0.0.1", 5, "bind:127.0.0.1:5", "send", False),
        ("127.0.0.1", 5, "127.0.0.1:5", "bind", False),
        ("127.0.0.1", 5, "127.0.0.1:5", "send", True),
        ("127.0.0.1", 5, "send:127.0.0.1:5", "send", True),
        ("127.0.0.1", 5, "send:127.0.0.1:5", "bind", False),
        ("::1", 5, "send:[::1]:5", "send", True),
        ("bind", 53, "bind:53", "send", False),
        ("send", 53, "send:53", "send", False),
    ],
)
def test_entries_about_datagrams(
    host: str, port: int, entry: str, verb: str, *, matches: bool
) -> None:
    assert datagram_matches(host, port, entry, verb=verb) is matches


def test_brackets_of_an_address_make_no_difference() -> None:
    for host in ("::1", "[::1]"):
        assert endpoint_matches(host, 80, "[::1]:80")
        assert endpoint_matches(host, 80, "::1:80")
