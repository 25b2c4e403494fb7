"""Names looked up in a real name server, dnsmasq, as the proxy does it: search list, aliases, both families, TCP."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from typing_extensions import override

from socks5.net import lookups
from socks5.net.lookups import NameServerLookups, Outcome
from socks5.net.nameservers import DatagramChannel
from socks5.net.resolvconf import ResolvConf
from tests.interop.conftest import NameServer
from tests.sockets.wires import until
from tests.support.nameserver import kind_of


class NoIPv6(DatagramChannel):
    """A way on which questions for IPv6 addresses are lost."""

    @override
    def send(self, datagram: bytes) -> None:
        if kind_of(datagram) == "A":
            super().send(datagram)


@pytest.fixture
def ask(name_server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Look a name up at that server, by a resolv.conf that says something more."""
    from twisted.internet import reactor

    class Conf:
        @staticmethod
        def parse(text: str, domain: str) -> ResolvConf:
            return replace(ResolvConf.parse(text, domain), port=name_server.port)

    monkeypatch.setattr(lookups, "ResolvConf", Conf)

    async def ask(name: str, text: str = "", channel: Any = DatagramChannel) -> Outcome:
        (tmp_path / "resolv.conf").write_text(f"nameserver 127.0.0.1\nsearch sub.test\n{text}")
        outcomes: list[Any] = []
        asking = NameServerLookups(reactor, str(tmp_path / "resolv.conf"), channel=channel)
        asking.begin(name, outcomes.append)
        await until(lambda: outcomes)
        [outcome] = outcomes
        assert isinstance(outcome, Outcome)
        return outcome

    return ask


@pytest.mark.parametrize("name", ["both.test", "BOTH.test.", "alias.test"])
@pytest_twisted.ensureDeferred
async def test_a_name_has_addresses_of_both_families(ask: Any, name: str) -> None:
    assert sorted((await ask(name)).hosts) == [*NameServer.both]


@pytest.mark.parametrize(
    ("name", "options", "hosts"),
    [
        ("host", "", ("192.0.2.7",)),
        ("host.", "", ()),
        ("host.sub.test", "", ("192.0.2.7",)),
        ("host.sub.test", "options ndots:3", ("192.0.2.7",)),
        ("other", "", ()),
        ("host", "search nowhere.test sub.test", ("192.0.2.7",)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_search_list(ask: Any, name: str, options: str, hosts: tuple[str, ...]) -> None:
    outcome = await ask(name, options)
    assert outcome.hosts == hosts
    assert outcome.is_certain


@pytest_twisted.ensureDeferred
async def test_many_addresses_come_over_tcp(ask: Any) -> None:
    outcome = await ask("many.test")
    assert sorted(outcome.hosts) == sorted(NameServer.many)


@pytest_twisted.ensureDeferred
async def test_all_goes_over_tcp_if_that_is_wanted(ask: Any) -> None:
    outcome = await ask("both.test", "options use-vc")
    assert sorted(outcome.hosts) == [*NameServer.both]


@pytest_twisted.ensureDeferred
async def test_lost_questions_for_ipv6_keep_nobody_waiting(ask: Any) -> None:
    outcome = await ask("both.test", channel=NoIPv6)
    assert outcome == Outcome(NameServer.both[:1], outcome.lifetime, is_certain=False)
