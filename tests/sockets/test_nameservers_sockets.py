"""Questions to name servers on real sockets, over UDP and TCP, and what reaches them from strangers."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import pytest_twisted

from socks5.net.nameservers import DatagramChannel, Inquiry
from socks5.net.resolvconf import ResolvConf
from socks5.protocol.dns import Answer, Kind, wire_name
from tests.sockets.clients import Datagrams, Target, family_of
from tests.sockets.wires import turn, until
from tests.support.nameserver import A, message

NAME = wire_name("www.example.org")


def _pair(
    stack: ExitStack, family: socket.AddressFamily, host: str
) -> tuple[socket.socket, socket.socket]:
    """A TCP and a UDP socket on one port, which is free for both."""
    while True:
        tcp = stack.enter_context(socket.create_server((host, 0), family=family))
        udp = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        with suppress(OSError):
            udp.bind(tcp.getsockname())
            return tcp, udp


class Server:
    """A name server, on one port for both."""

    def __init__(self, stack: ExitStack, host: str) -> None:
        tcp, udp = _pair(stack, family_of(host), host)
        self.tcp, self.udp = Target(tcp, stack), Datagrams(udp)
        self.host, self.port = self.tcp.host
        self.client: Any = None

    async def question(self) -> bytes:
        """What is asked over UDP."""
        asked, self.client = await self.udp.receive()
        return asked

    def answer(self, octets: bytes) -> None:
        self.udp.send(octets, self.client)


@pytest.fixture(params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with ExitStack() as stack:
        yield Server(stack, request.param)


class Asking:
    """An inquiry for one kind, and what it was told."""

    def __init__(self, server: Server, **options: Any) -> None:
        from twisted.internet import reactor

        conf = ResolvConf(servers=(server.host,), port=server.port, **options)
        self.told: list[Answer | None] = []
        self.inquiry = Inquiry(reactor, conf, NAME, [Kind.A], lambda _, answer: self.told.append(answer))  # fmt: skip
        self.inquiry.start()


def readers() -> set[Any]:
    from twisted.internet import reactor

    return {each for each in reactor.getReaders() if isinstance(each, DatagramChannel)}


@pytest_twisted.ensureDeferred
async def test_each_question_has_a_number_and_a_port_of_its_own(server: Server) -> None:
    seen = set()
    for _ in range(8):
        asking = Asking(server)
        asked = await server.question()
        seen.add((asked[:2], server.client[1]))
        asking.inquiry.stop()
    assert len({number for number, _ in seen}) >= 7
    assert len({port for _, port in seen}) >= 7
    assert readers() == set()


@pytest_twisted.ensureDeferred
async def test_the_answer_comes_in_and_a_stranger_s_does_not(server: Server) -> None:
    """However well it has guessed."""
    asking = Asking(server)
    asked = await server.question()
    with socket.socket(family_of(server.host), socket.SOCK_DGRAM) as stranger:
        stranger.bind((server.host, 0))
        stranger.sendto(message(asked, [A(b"\xc0\x0c", "192.0.2.66")]), server.client)
    await turn()
    server.answer(message(asked, [A(b"\xc0\x0c", "192.0.2.1")]))
    await until(lambda: asking.told)
    assert asking.told == [Answer(0, hosts=("192.0.2.1",), lifetime=300)]
    assert readers() == set()


@pytest.mark.parametrize("is_read", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_there_refuses(server: Server, is_read: bool) -> None:
    """Whether the reactor reports the error, or it is read."""
    server.udp.socket.close()
    asking = Asking(server)
    if is_read:
        [channel] = readers()
        channel.doRead()
    await until(lambda: asking.told)
    assert asking.told == [None]
    assert readers() == set()


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_cut_comes_over_tcp(server: Server) -> None:
    asking = Asking(server)
    asked = await server.question()
    server.answer(message(asked, [], flags=0x8380))
    stream, _ = await server.tcp.accept()
    assert (await stream.receive(2 + len(asked)))[2:] == asked
    octets = message(asked, [A(b"\xc0\x0c", f"192.0.2.{number}") for number in range(40)])
    stream.send(len(octets).to_bytes(2, "big") + octets)
    await until(lambda: asking.told)
    assert len(asking.told[0].hosts) == 40  # type: ignore[union-attr]
    assert readers() == set()


@pytest_twisted.ensureDeferred
async def test_a_server_may_have_a_zone() -> None:
    """The loopback's address stands for a link-local one, as a router announces its own."""
    with ExitStack() as stack:
        server = Server(stack, "::1")
        server.host = "::1%lo"
        asking = Asking(server)
        await server.question()
        asking.inquiry.stop()


def test_no_socket_is_left_where_there_is_no_route() -> None:
    """Which is found out while it is opened."""
    from twisted.internet import reactor

    with pytest.raises(OSError, match="No such device"):
        DatagramChannel(reactor, "fe80::1%no-such-one", 53, lambda _: None, lambda: None)
    assert readers() == set()


@pytest_twisted.ensureDeferred
async def test_a_wake_up_without_a_datagram_is_nothing(server: Server) -> None:
    asking = Asking(server)
    [channel] = readers()
    channel.doRead()
    assert asking.told == []
    assert "names" in channel.logPrefix()
    asking.inquiry.stop()
    channel.connectionLost(None)
    channel.close()
