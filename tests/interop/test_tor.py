"""Tor, in a network namespace without a way out: names that it maps itself, logins that isolate, and silence."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from socks5.client import (
    CommandNotSupported,
    GeneralFailure,
    NameNotFound,
    Proxy,
    ProxyTimeout,
)
from tests.interop.conftest import Front
from tests.interop.processes import poll, run, running, succeed
from tests.interop.programs import needs, require_program
from tests.sockets.clients import Far, Network, packed
from tests.sockets.wires import OnClock, until

pytestmark = [needs("tor"), needs("ip")]

CONFIGURATION = """\
DataDirectory {directory}/data
SocksPort unix:{directory}/socks NoPreferIPv6Automap
ControlSocket unix:{directory}/control
# It has an address for every such name, and no other use for those:
AutomapHostsOnResolve 1
AutomapHostsSuffixes .test
VirtualAddrNetworkIPv4 {network}
GeoIPFile /dev/null
GeoIPv6File /dev/null
Log notice stdout
"""

NETWORK = "127.192.0.0/10"
HOST = b"www.example.org"


@contextmanager
def namespace() -> Iterator[list[str]]:
    """A network namespace without an interface that is up, and what comes before a command to have it run there."""
    ip, name = require_program("ip"), f"socks5-tests-{os.getpid()}"
    made = run(ip, "netns", "add", name)
    if made.returncode:
        pytest.skip(f"no network namespace: {made.stderr.decode().strip()}")
    try:
        yield [ip, "netns", "exec", name]
    finally:
        succeed(ip, "netns", "del", name)


def is_listened_to(path: Path) -> bool:
    """Whether somebody listens there, for there is a socket a little before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.fixture(scope="module")
def tor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running one; the directory of its sockets, which reach beyond the namespace."""
    directory = tmp_path_factory.mktemp("tor")
    configuration, log = directory / "torrc", directory / "log"
    configuration.write_text(CONFIGURATION.format(directory=directory, network=NETWORK))
    with namespace() as within:
        command = [*within, require_program("tor"), "--defaults-torrc", "/dev/null"]
        with running(*command, "-f", configuration, log=log) as process:
            last = directory / "control"  # which comes after the other one
            poll(lambda: process.poll() is not None or is_listened_to(last), "tor listens")
            assert process.poll() is None, log.read_text()
            yield directory


def through(tor: Path, login: str = "", reactor: Any = None) -> Proxy:
    if reactor is None:
        from twisted.internet import reactor
    return Proxy.from_url(reactor, f"socks5://{login}localhost{tor}/socks", timeout=10)


def upstream(tor: Path, keys: str = "") -> str:
    commands = '["connect", "bind", "resolve"]'
    return f'[upstream.up]\nurl = "socks5://localhost{tor}/socks"\ncommands = {commands}\n{keys}\n'


@pytest.fixture
def streams(tor: Path) -> Iterator[Far]:
    """What Tor says of what it is asked for."""
    with ExitStack() as stack:
        control = Network(stack).connect(str(tor / "control"))
        control.send(b"AUTHENTICATE\r\nSETEVENTS STREAM\r\n")
        yield control


@pytest_twisted.ensureDeferred
async def test_our_client_asks_for_names_and_addresses(tor: Path) -> None:
    proxy = through(tor)
    address = await proxy.resolve("www.test")
    assert ip_address(address) in ip_network(NETWORK)
    assert await proxy.resolve("www.test") == address != await proxy.resolve("other.test")
    with pytest.raises(NameNotFound):
        await proxy.resolve_ptr("192.168.0.1")


@pytest_twisted.ensureDeferred
async def test_our_server_asks_for_names_and_addresses(tor: Path, front: Front) -> None:
    server = await front(upstream(tor))
    address = await through(tor).resolve("www.test")
    client = await server.client(0xF0, packed(b"www.test", 0))
    assert await client.reply() == (0, (address, 0))
    other = await server.client(0xF1, packed("192.168.0.1", 0))
    assert (await other.reply())[0] == 4
    for each in (client, other):
        each.close()
    await server.gone(2)
    assert [record.upstream for record in server.records] == ["up", "up"]


@pytest_twisted.ensureDeferred
async def test_it_refuses_private_targets_and_other_commands(tor: Path, front: Front) -> None:
    proxy = through(tor)
    with pytest.raises(GeneralFailure):
        await proxy.endpoint("192.168.0.1", 80).connect(Factory())
    with pytest.raises(CommandNotSupported):
        await proxy.bind(Factory())
    with pytest.raises(CommandNotSupported):
        await proxy.associate().open()
    server = await front(upstream(tor))
    for number, (command, code) in enumerate([(1, 1), (2, 7)]):
        client = await server.client(command, packed("192.168.0.1", 80))
        assert (await client.reply())[0] == code
        client.close()
        await server.gone(number + 1)


@pytest_twisted.ensureDeferred
async def test_logins_isolate(tor: Path, front: Front, streams: Far) -> None:
    """It takes each, and tells their streams apart by both halves; without one, they are all of one kind."""
    server = await front(upstream(tor, 'user = "carol"\npassword = "of the server"'))
    connecting = [
        through(tor, login).endpoint(HOST, 80).connect(Factory())
        for login in ("alice:secret@", "bob:@", "")
    ]
    client = await server.client(1, packed(HOST, 80))
    logins = [
        b'SOCKS_USERNAME="alice" SOCKS_PASSWORD="secret" ',
        b'SOCKS_USERNAME="bob" ',
        b"",
        b'SOCKS_USERNAME="carol" SOCKS_PASSWORD="of the server" ',
    ]
    asked = [b" PURPOSE=USER %sCLIENT_PROTOCOL=SOCKS5" % login for login in logins]
    await until(lambda: all(each in streams.value() for each in asked))
    for each in connecting:
        each.addErrback(lambda failure: None)
        each.cancel()
    client.close()
    await server.gone()


@pytest_twisted.ensureDeferred
async def test_silence_has_an_end(tor: Path, streams: Far) -> None:
    """There is no way out, of which it says nothing."""
    clock = Clock()
    endpoint = through(tor, reactor=OnClock(clock)).endpoint(HOST, 443)
    connecting = endpoint.connect(Factory())
    await until(lambda: b" NEW 0 %s:443 " % HOST in streams.value())
    clock.advance(10)
    with pytest.raises(ProxyTimeout) as caught:
        await connecting
    assert caught.value.stage == "reply"
