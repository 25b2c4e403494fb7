"""Names looked up in a real name server, dnsmasq: as the proxy does it, and through the proxy by datagrams."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from socks5.net import lookups
from socks5.net.lookups import NameServerLookups, Outcome
from socks5.net.resolvconf import ResolvConf
from tests.interop.association import Association
from tests.interop.conftest import NameServer
from tests.interop.proxy import Proxy
from tests.sockets.wires import until


@pytest.fixture
def ask(name_server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Look a name up at that server, by a resolv.conf that says something more."""
    from twisted.internet import reactor

    class Conf:
        @staticmethod
        def parse(text: str, domain: str) -> ResolvConf:
            return replace(ResolvConf.parse(text, domain), port=name_server.port)

    monkeypatch.setattr(lookups, "ResolvConf", Conf)

    async def ask(name: str, text: str) -> Outcome:
        (tmp_path / "resolv.conf").write_text(f"nameserver 127.0.0.1\nsearch sub.test\n{text}")
        outcomes: list[Any] = []
        asking = NameServerLookups(reactor, str(tmp_path / "resolv.conf"))
        asking.begin(name, outcomes.append)
        await until(lambda: outcomes)
        [outcome] = outcomes
        assert isinstance(outcome, Outcome)
        return outcome

    return ask


@pytest.mark.parametrize(
    ("name", "options", "hosts"),
    [
        ("both.test", "", NameServer.both),
        ("BOTH.test.", "", NameServer.both),
        ("alias.test", "", NameServer.both),
        ("both.test", "options use-vc", NameServer.both),  # over TCP, as so many addresses are
        ("many.test", "", NameServer.many),
        ("host", "", ("192.0.2.7",)),
        ("host", "search nowhere.test sub.test", ("192.0.2.7",)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_name_is_looked_up(
    ask: Any, name: str, options: str, hosts: tuple[str, ...]
) -> None:
    outcome = await ask(name, options)
    assert sorted(outcome.hosts) == sorted(hosts)
    assert outcome.is_certain


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_datagram_asks_it(proxy: Proxy, name_server: NameServer, host: str) -> None:
    with Association(proxy.address) as association:
        assert association.relay[0] == proxy.host
        association.send(host, name_server.port, name_server.query())
        sender, data = association.receive()
        assert sender == ("127.0.0.1", name_server.port)
        assert name_server.answer(data) == [name_server.address]
    session = proxy.session()
    assert (session.command, session.target, session.reply) == ("udp", "0.0.0.0:0", 0)
    assert (session.bytes_up, session.bytes_down) == (len(name_server.query()), len(data))
    assert session.dropped == 0
