"""No request of a capsule reaches an address inside without the operator's consent.

Every case runs against real servers on loopback that count who connects.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme

from astrid_core.domain.egress import parse_egress
from astrid_core.domain.ip_ranges import IpAddress
from astrid_core.host.http_bounds import Bounds
from astrid_core.host.http_network import Network
from tests.support.exchanges import outcome
from tests.support.namespaces import run_apart
from tests.support.web_server import Exchange, WebServer, drip, endless, serving

HOSTS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "0177.1",
    "00000000000000000000000000000000177.0.0.1",
    "127.000.000.001",
    "127.0.0.1.",
    "127.0.0.2",
    "127.255.255.254",
    "0",
    "0.0.0.0",  # noqa: S104 - to be refused
    "0x0",
    "00",
    "1",
    "0.0.0.1",
    "10.0.0.1",
    "0xa.1",
    "167772161",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "100.64.0.1",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[ff02::1]",
    "[fec0::1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b:1::1]",
    "[2001:db8::1]",
    "[::ffff:0:127.0.0.1]",
    "%31%32%37.0.0.1",
    "127。0。0。1",
    "１２７.0.0.1",  # noqa: RUF001 - look-alikes on purpose
    "⑫⑦.0.0.1",
    "localhost",
    "LOCALHOST",
    "local%68ost",
    "localhost.",
    "user@127.0.0.1",
    "user:pw@127.0.0.1",
    "example.org@127.0.0.1",
    "good.test:80@127.0.0.1",
    "127.0.0.1#@good.test",
    "127.0.0.1?@good.test",
    "127.0.0.1\\@good.test",
]
REFUSED = {"airlock-rejected", "invalid-request", "dns-error", "connection-error"}
SCHEMES = [
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "ftp://127.0.0.1/",
    "gopher://127.0.0.1/",
    "data:,x",
    "javascript:alert(1)",
    "unix:///run/x.sock",
    "ws://127.0.0.1/",
    "ldap://127.0.0.1/",
    "dict://127.0.0.1:11211/",
    "jar:http://127.0.0.1!/",
    "http+unix://x/",
    "about:blank",
    "blob:http://127.0.0.1/x",
    "//127.0.0.1/",
    "http:/127.0.0.1",
    "http:127.0.0.1",
    "http:\\\\127.0.0.1",
    "\\\\127.0.0.1",
]


def never(host: str, _port: int) -> list[IpAddress]:
    """Loopback for whoever is called so; nobody else is known."""
    if host == "localhost":
        return [ip_address("127.0.0.1"), ip_address("::1")]
    raise OSError("no such name")


@pytest.fixture
def canary() -> Iterator[WebServer]:
    with serving({"/": lambda exchange: exchange.answer(b"reached")}) as made:
        yield made


@pytest.mark.parametrize("host", HOSTS)
def test_an_address_inside_refused_in_every_notation(canary: WebServer, host: str) -> None:
    place, mark, rest = host.partition("#") if "#" in host else host.partition("?")
    url = f"http://{place}:{canary.port}/{mark}{rest}"
    ended = outcome(url, Network(resolve=never))
    assert ended in REFUSED - {"connection-error"}
    assert canary.connections == 0


@pytest.mark.parametrize("url", SCHEMES)
def test_other_schemes_and_odd_forms_refused(canary: WebServer, url: str) -> None:
    ended = outcome(url, Network(resolve=never))
    assert ended in {"scheme-denied", "invalid-request", "airlock-rejected"}
    assert canary.connections == 0


def opened(server: WebServer) -> Network:
    """One server is open to capsules, as `good.test`."""
    rule = parse_egress(f"127.0.0.1:{server.port}")

    def resolve(host: str, port: int) -> list[IpAddress]:
        return [ip_address("127.0.0.1")] if host == "good.test" else never(host, port)

    return Network(resolve=resolve, consent=(rule,))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_inside_refused(canary: WebServer, host: str, status: int) -> None:
    def away(exchange: Exchange) -> None:
        exchange.redirect(f"http://{host}:{canary.port}/", status)

    with serving({"/": away}) as server:
        ended = outcome(f"http://good.test:{server.port}/", opened(server))
        assert server.connections == 1
    assert ended == "redirect-blocked"
    assert canary.connections == 0


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "//127.0.0.1:{port}/", "http:\\\\127.0.0.1:{port}\\", "ftp://127.0.0.1/",
     "http://good.test@127.0.0.1:{port}/", "http://[::1]:{port}/"],
)  # fmt: skip
def test_odd_redirects_refused(canary: WebServer, location: str) -> None:
    where = location.format(port=canary.port)
    with serving({"/": lambda exchange: exchange.redirect(where)}) as server:
        ended = outcome(f"http://good.test:{server.port}/", opened(server))
    assert ended in {"redirect-blocked", "scheme-denied"}
    assert canary.connections == 0


LOOK_ALIKES = [
    "evil.test",
    "good.test.evil.test",
    "evilgood.test",
    "good-test",
    "test",
    "good.test@evil.test",
    "good.test:80@evil.test",
    "good.test%40evil.test",
    "good.test%2eevil.test",
    "good.test%00.evil.test",
    "good.test%23.evil.test",
    "good.test。evil.test",
    "gооd.test",  # noqa: RUF001 - Cyrillic on purpose
    "good.test\u200b.evil.test",
    "xn--good-test",
    "127.0.0.1",
]


def anywhere(server: WebServer) -> Network:
    """One server is open to capsules, and every name leads to it."""
    rule = parse_egress(f"127.0.0.1:{server.port}")
    return Network(resolve=lambda _host, _port: [ip_address("127.0.0.1")], consent=(rule,))


@pytest.mark.parametrize("host", LOOK_ALIKES)
def test_a_host_refused_when_it_only_looks_like_an_allowed_one(
    canary: WebServer, host: str
) -> None:
    network = anywhere(canary)
    url = f"http://{host}:{canary.port}/"
    refused = {"capability-denied", "invalid-request"}
    assert outcome(url, network, net=("good.test",)) in refused
    assert canary.connections == 0


@pytest.mark.parametrize("host", LOOK_ALIKES)
def test_a_redirect_refused_when_its_host_only_looks_allowed(host: str) -> None:
    with serving({}) as server:
        location = f"http://{host}:{server.port}/away"
        server.routes["/"] = lambda exchange: exchange.answer(
            status=302, headers=(f"Location: {location}".encode().decode("latin-1"),)
        )
        url = f"http://good.test:{server.port}/"
        ended = outcome(url, anywhere(server), net=("good.test",))
        assert ended in {"redirect-blocked", "protocol"}
        assert [seen.path for seen in server.seen] == ["/"]


@pytest.mark.parametrize(
    "host", ["GOOD.test", "good.test.", "ⓖood.test", "g%6fod.test", "a.good.test", "u:p@good.test"]
)
def test_other_notations_of_an_allowed_host_mean_it(canary: WebServer, host: str) -> None:
    url = f"http://{host}:{canary.port}/"
    assert outcome(url, anywhere(canary), net=("good.test",)) == "200"
    assert canary.seen[0].values("host")[0].endswith(f"good.test:{canary.port}")


def test_consent_is_for_one_port(canary: WebServer) -> None:
    with serving({"/": lambda exchange: exchange.answer(b"ok")}) as server:
        network = opened(server)
        assert outcome(f"http://127.0.0.1:{server.port}/", network) == "200"
        assert outcome(f"http://good.test:{canary.port}/", network) == "airlock-rejected"
    assert canary.connections == 0


def test_proxies_of_the_daemons_environment_are_ignored(
    canary: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    with serving({"/": lambda exchange: exchange.answer(b"ok")}) as server:
        assert outcome(f"http://good.test:{server.port}/", opened(server)) == "200"
    assert canary.connections == 0


@pytest.mark.slow
def test_names_whose_answers_change_between_look_ups(tmp_path: Path) -> None:
    found = run_apart("tests.support.dns_world", tmp_path)
    assert found["outcomes"] == {
        "inside.test.": ["airlock-rejected", "airlock-rejected"],
        "turns.test.": ["200", "airlock-rejected"],  # one look-up: what was judged is connected to
        "turns-back.test.": ["airlock-rejected", "200"],
        "both.test.": ["200", "200"],
        "metadata.test.": ["airlock-rejected", "airlock-rejected"],
        "zero.test.": ["airlock-rejected", "airlock-rejected"],
        "six.test.": ["airlock-rejected", "airlock-rejected"],
        "mapped.test.": ["dns-error", "dns-error"],  # the system drops such answers
        "nat64.test.": ["airlock-rejected", "airlock-rejected"],
        "local.test.": ["airlock-rejected", "airlock-rejected"],
        "both-kinds.test.": ["200", "200"],
        "alias.test.": ["airlock-rejected", "airlock-rejected"],
        "nobody.test.": ["dns-error", "dns-error"],
        "canary": ["airlock-rejected"],
    }
    assert (found["canary"], found["opened"]) == (0, 6)
    assert found["asked"]["turns.test."] == 2


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class TestTls:
    """Certificates are checked for the name of the URL, not for the address."""

    def serve(self, authority: trustme.CA, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return context

    def network(self, authority: trustme.CA, server: WebServer) -> Network:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        found = opened(server)
        return Network(resolve=found.resolve, consent=found.consent, tls=lambda: trusting)

    def test_56_a_certificate_counts_for_its_name_alone(self, authority: trustme.CA) -> None:
        routes = {"/": lambda exchange: exchange.answer(b"ok")}
        for name, ended in (("good.test", "200"), ("other.test", "tls-error")):
            with serving(routes, tls=self.serve(authority, name)) as server:
                network = self.network(authority, server)
                assert outcome(f"https://good.test:{server.port}/", network) == ended
                stranger = Network(resolve=network.resolve, consent=network.consent)
                assert outcome(f"https://good.test:{server.port}/", stranger) == "tls-error"

    def test_61_https_only_is_for_every_hop(self, authority: trustme.CA) -> None:
        with serving({"/": lambda exchange: exchange.answer(b"ok")}) as plain:
            away = {"/": lambda e: e.redirect(f"http://good.test:{plain.port}/")}
            with serving(away, tls=self.serve(authority, "good.test")) as server:
                network = self.network(authority, server)
                strict = Bounds(total_s=5.0, https_only=True)
                url = f"https://good.test:{server.port}/"
                assert outcome(url, network, bounds=strict) == "scheme-denied"
            assert plain.connections == 0

    def test_plain_text_where_tls_is_expected(self) -> None:
        with serving({}, speaks_first=b"HTTP/1.1 400 what\r\n\r\n") as server:
            ended = outcome(f"https://good.test:{server.port}/", opened(server))
        assert ended == "tls-error"


@pytest.mark.parametrize("answer", [endless, drip], ids=["endless", "drip"])
def test_what_never_ends_takes_bounded_memory_and_time(answer: object) -> None:
    with serving({"/": answer}) as server:  # type: ignore[dict-item]
        before, began = _resident(), time.monotonic()
        for _ in range(3):
            bounds = Bounds(total_s=1.0, body_bytes=64 * 1024 * 1024)
            assert outcome(f"http://good.test:{server.port}/", opened(server), bounds=bounds)
        assert time.monotonic() - began < 10
        assert _resident() - before < 64 * 1024 * 1024


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
