"""UDP through proxies, in memory: associations, ports, what is sent and what is taken."""

from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IReactorUDP,
    IUDPTransport,
)
from zope.interface.verify import verifyObject

from socks5.client import Proxy, ProxyUnreachable
from tests.support.datagrams import RELAY, TARGET, Associated, datagram
from tests.support.deferreds import told
from tests.support.failures import Failures
from tests.support.reactor import FakeReactor
from tests.support.through import PROXY, proxies

OTHER = ("198.51.100.54", 53)
SECOND = "socks5://second.example"


# ---------------------------------------------------------------- an association


def test_a_datagram_and_its_answer() -> None:
    program = Associated()
    assert verifyObject(IReactorUDP, program.udp)
    assert verifyObject(IReactorTime, program.udp)
    socket = program.opened()
    [control] = program.controls
    assert control.value() == b"\5\1\0" + b"\5\3\0\1" + bytes(6)
    assert socket.getHost().host == control.getHost().host
    assert socket.maxPacketSize == 65535
    port, protocol = program.listen()
    assert verifyObject(IListeningPort, port)
    assert verifyObject(IUDPTransport, port)
    assert port.getHost() == socket.getHost()
    protocol.transport.write(b"ping", TARGET)  # type: ignore[union-attr]
    assert socket.written == [(datagram(b"ping"), RELAY)]
    socket.receive(datagram(), RELAY)
    assert protocol.notes == ["started", (b"pong", TARGET)]
    stopped = told(port.stopListening())
    assert port.stopListening() is not None
    program.reactor.turn()
    assert stopped == [None]
    assert protocol.notes[2:] == ["stopped"]
    assert list(program.udp.dropped) == []
    port.write(b"too late", TARGET)
    assert len(socket.written) == 1
    assert program.leaves_nothing()


def test_targets_are_literals_and_names() -> None:
    program = Associated()
    socket = program.opened()
    port, _ = program.listen()
    targets: list[tuple[str | bytes, int]] = [("2001:db8::1", 1), ("www.example.org", 2), (b"w", 3)]
    for target in targets:
        port.write(b"", target)
    sent = [data for data, _ in socket.written]
    assert sent == [
        datagram(b"", ("2001:db8::1", 1)),
        datagram(b"", (b"www.example.org", 2)),
        datagram(b"", (b"w", 3)),
    ]
    for host, number in (("a" * 256, 1), ("192.0.2.1", 0), ("192.0.2.1", 65536)):
        with pytest.raises(ValueError, match=r"expected|1-255"):
            port.write(b"", (host, number))
    with pytest.raises(ValueError, match="needs an address"):
        port.write(b"")


def test_names_that_no_proxy_is_to_know() -> None:
    program = Associated(rdns=False)
    program.opened()
    port, _ = program.listen()
    port.write(b"", TARGET)
    with pytest.raises(error.InvalidAddressError, match="rdns"):
        port.write(b"", ("www.example.org", 53))


def test_the_longest_datagram() -> None:
    program = Associated()
    program.opened()
    port, _ = program.listen()
    port.write(bytes(65507 - 10), TARGET)
    with pytest.raises(error.MessageLengthError):
        port.write(bytes(65507 - 9), TARGET)
    assert len(program.socket.written[0][0]) == 65507


def test_a_connected_port_has_one_peer() -> None:
    program = Associated()
    socket = program.opened()
    port, protocol = program.listen()
    for host in ("www.example.org", "127.1"):
        with pytest.raises(error.InvalidAddressError):
            port.connect(host, 53)
    port.connect("::ffff:198.51.100.53", 53)
    with pytest.raises(RuntimeError):
        port.connect(*TARGET)
    port.write(b"ping")
    assert socket.written == [(datagram(b"ping"), RELAY)]
    socket.receive(datagram(), RELAY)
    socket.receive(datagram(b"mapped", (f"::ffff:{TARGET[0]}", TARGET[1])), RELAY)
    socket.receive(datagram(b"other", OTHER), RELAY)
    assert protocol.notes == ["started", (b"pong", TARGET), (b"mapped", TARGET)]
    assert program.udp.dropped == {"stranger": 1}


def test_what_is_not_taken() -> None:
    program = Associated()
    socket = program.opened()
    port, protocol = program.listen(maxPacketSize=4)
    socket.receive(datagram(), ("203.0.113.6", 8080))
    socket.receive(datagram(), ("203.0.113.5", 8081))
    socket.receive(datagram(fragment=1), RELAY)
    socket.receive(datagram(b"12345"), RELAY)
    for malformed in (b"", b"\0\0\0\1\1", b"\0\1\0" + datagram()[3:], b"\0\0\0\x09abcdefgh"):
        socket.receive(malformed, RELAY)
    socket.receive(datagram(b"1234", (b"localhost", 53)), RELAY)
    assert protocol.notes == ["started", (b"1234", ("localhost", 53))]
    port.stopListening()
    socket.receive(datagram(), RELAY)
    assert program.udp.dropped == {
        "stranger": 2,
        "fragment": 1,
        "long": 1,
        "malformed": 4,
        "late": 1,
    }


def test_what_the_system_does_not_send_is_lost() -> None:
    program = Associated()
    program.opened().error = BlockingIOError()
    port, _ = program.listen()
    port.write(b"ping", TARGET)
    assert program.udp.dropped == {"unsendable": 1}


def test_what_a_port_cannot_do() -> None:
    port, _ = Associated().listen()
    with pytest.raises(error.CannotListenError):
        port.startListening()
    port.setBroadcastAllowed(False)
    with pytest.raises(OSError, match="not supported"):
        port.setBroadcastAllowed(True)
    assert not port.getBroadcastAllowed()


def test_it_is_a_clock() -> None:
    program = Associated()
    called: list[int] = []
    call = program.udp.callLater(1, called.append, 1)
    assert call in program.udp.getDelayedCalls()
    program.reactor.advance(1)
    assert (program.udp.seconds(), called) == (1, [1])


# ---------------------------------------------------------------- which association


def test_ports_one_after_another_use_one_and_together_have_one_each() -> None:
    program = Associated(ports=3)
    program.opened()
    for _ in range(6):
        port, _ = program.listen()
        port.write(b"", TARGET)
        port.stopListening()
    assert len(program.socket.written) == 6
    ports = [program.listen()[0] for _ in range(4)]
    assert program.attempts == 2  # one has that which is there, and one waits for its turn
    program.accept()
    program.accept()
    for port in ports:
        port.write(b"", TARGET)
    assert [len(each.written) for each in program.reactor.udp_ports] == [7, 1, 1]
    ports[1].stopListening()
    assert len(program.reactor.udp_ports[1].written) + len(program.socket.written) == 3
    assert program.leaves_nothing()


def test_a_thousand_ports_at_once() -> None:
    program = Associated()
    ports = [program.listen() for _ in range(1000)]
    assert program.attempts == 16
    program.reactor.advance(30)
    program.reactor.turn()
    assert [protocol.notes for _, protocol in ports] == [["started", "refused"]] * 1000
    assert program.leaves_nothing()


def test_datagrams_wait_for_an_association_within_bounds() -> None:
    program = Associated()
    port, protocol = program.listen()
    assert port.getHost() == IPv4Address("UDP", "0.0.0.0", 0)
    for number in range(65):
        port.write(b"%d" % number, TARGET)
    program.accept()
    assert [data for data, _ in program.socket.written] == [
        datagram(b"%d" % number) for number in range(64)
    ]
    assert program.udp.dropped == {"waiting": 1}
    big, _ = program.listen()
    big.write(bytes(65000), TARGET)
    big.write(bytes(1000), TARGET)
    big.write(b"small", TARGET)
    assert program.udp.dropped == {"waiting": 2}
    big.stopListening()
    assert program.udp.dropped == {"waiting": 4}
    assert protocol.notes == ["started"]
    assert program.leaves_nothing()


@pytest.mark.parametrize("timeout", [None, 7])
def test_a_port_waits_for_its_turn_as_long_as_a_connection_may_take(timeout: float | None) -> None:
    program = Associated(ports=1, timeout=timeout)
    program.opened()
    first, _ = program.listen()
    second, protocol = program.listen()
    second.write(b"1", TARGET)
    program.reactor.advance(100)
    assert protocol.notes == (["started"] if timeout is None else ["started", "refused"])
    second.write(b"2", TARGET)
    first.stopListening()
    sent = [data[10:] for data, _ in program.socket.written]
    assert sent == ([b"1", b"2"] if timeout is None else [b"2"])
    assert program.leaves_nothing()


def test_a_lost_control_connection_is_told_once_and_the_next_datagram_opens_another() -> None:
    program = Associated()
    socket = program.opened()
    port, protocol = program.listen()
    [control] = program.controls
    control.deliver_end()
    program.reactor.turn()
    assert protocol.notes == ["started", "refused"]
    assert not socket.is_listening
    assert program.attempts == 0
    port.write(b"again", TARGET)
    port.write(b"and again", TARGET)
    assert program.attempts == 1
    program.accept()
    assert len(program.socket.written) == 2
    assert program.leaves_nothing()


def test_a_protocol_that_fails_keeps_nobody_waiting(failures: Failures) -> None:
    def fail() -> None:
        raise RuntimeError

    program = Associated(ports=1)
    program.opened()
    for _ in range(2):
        _, protocol = program.listen()
        protocol.connectionRefused = protocol.stopProtocol = fail  # type: ignore[method-assign]
    program.controls[0].deliver_end()
    program.reactor.turn()
    assert program.attempts == 1  # for the second
    assert program.leaves_nothing()
    assert len(failures.take(RuntimeError)) == 3


def test_an_association_that_nobody_has_may_be_lost() -> None:
    program = Associated()
    program.opened()
    program.controls[0].deliver_reset()
    program.reactor.turn()
    assert program.leaves_nothing()


def test_a_proxy_that_has_none(log: list[str]) -> None:
    program = Associated(ports=2)
    port, protocol = program.listen()
    port.write(b"in vain", TARGET)
    program.accept(b"\5\7")
    assert protocol.notes == ["started", "refused"]
    assert any(
        line.startswith("no UDP association: 192.0.2.9:1080 (hop 1), asked for an association")
        for line in log
    )
    assert program.udp.dropped == {"waiting": 1}
    port.stopListening()
    assert program.leaves_nothing()


def test_a_port_that_is_gone_when_its_association_is_refused() -> None:
    program = Associated()
    port, protocol = program.listen()
    program.reactor.connectors[0].fail(error.ConnectionRefusedError())
    port.stopListening()
    program.reactor.turn()
    assert protocol.notes == ["started", "stopped"]
    again, _ = program.listen()
    again.stopListening()
    program.reactor.connectors[1].fail(error.ConnectionRefusedError())
    assert program.leaves_nothing()


def test_once_closed_it_refuses_until_it_is_opened_again() -> None:
    program = Associated()
    port, waiting = program.listen()
    assert program.leaves_nothing()
    assert waiting.notes == ["started", "stopped"]
    port, protocol = program.listen()
    port.write(b"", TARGET)
    assert protocol.notes == ["started"]
    program.reactor.turn()
    assert protocol.notes == ["started", "refused"]
    program.opened()
    port.write(b"", TARGET)
    assert len(program.socket.written) == 1
    assert program.leaves_nothing()


# ---------------------------------------------------------------- open() and close()


def test_it_opens_at_the_beginning_of_a_block_and_closes_at_its_end() -> None:
    from twisted.internet.defer import Deferred

    program = Associated()

    async def use() -> str:
        async with program.udp as udp:
            assert udp is program.udp
            assert await udp.open() is udp
            port, _ = program.listen()
            port.write(b"", TARGET)
        return "done"

    outcome = told(Deferred.fromCoroutine(use()))
    program.accept()
    program.reactor.turn()
    program.reactor.turn()
    assert outcome == ["done"]
    assert program.leaves_nothing()


@pytest.mark.parametrize("way", ["refused", "cancelled", "closed"])
def test_an_association_that_is_not_opened(way: str) -> None:
    program = Associated()
    opening = program.udp.open()
    outcome = told(opening)
    if way == "refused":
        program.reactor.connectors[0].fail(error.ConnectionRefusedError())
    elif way == "cancelled":
        opening.cancel()
    else:
        program.udp.close()
    [failure] = outcome
    kind: Any = ProxyUnreachable if way == "refused" else error.ConnectingCancelledError
    assert failure.check(kind)
    assert program.leaves_nothing()


def test_whoever_opens_at_once_awaits_the_same_association() -> None:
    program = Associated(ports=1)
    given_up = program.udp.open()
    outcomes = [told(given_up), told(program.udp.open()), told(program.udp.open())]
    given_up.cancel()
    [failure] = outcomes.pop(0)
    assert failure.check(error.ConnectingCancelledError)
    program.accept()
    assert outcomes == [[program.udp]] * 2
    assert len(program.reactor.connectors) == 1
    program.udp.close()
    assert program.leaves_nothing()


def test_who_awaits_an_association_that_a_port_needs_takes_none_from_it() -> None:
    """Nor does he keep it from being opened when he gives up; and both hear that there is none."""
    program = Associated(ports=1)
    _, protocol = program.listen()
    given_up = program.udp.open()
    outcomes = [told(given_up)]
    given_up.cancel()
    outcomes.append(told(program.udp.open()))
    [connector] = program.reactor.connectors
    connector.fail(error.ConnectionRefusedError())
    program.reactor.turn()
    assert [failure.type for [failure] in outcomes] == [
        error.ConnectingCancelledError,
        ProxyUnreachable,
    ]
    assert protocol.notes == ["started", "refused"]
    assert program.reactor.connectors == [connector]
    assert program.leaves_nothing()


def test_who_gives_up_an_association_too_many_has_no_port_refused() -> None:
    program = Associated()
    (gone, _), (_, protocol) = program.listen(), program.listen()
    gone.stopListening()
    opening = program.udp.open()
    outcome = told(opening)
    opening.cancel()
    program.reactor.turn()
    [failure] = outcome
    assert failure.check(error.ConnectingCancelledError)
    assert protocol.notes == ["started"]
    assert [each.state for each in program.reactor.connectors].count("connecting") == 1


@pytest.mark.parametrize("is_there", [True, False])
def test_who_hears_of_an_association_may_cancel_who_has_not_yet(is_there: bool) -> None:
    program = Associated()
    one, other = program.udp.open(), program.udp.open()
    one.addBoth(lambda _: other.cancel())
    outcomes = [told(one), told(other)]
    if is_there:
        program.accept()
    else:
        program.reactor.connectors[0].fail(error.ConnectionRefusedError())
    [[first], [failure]] = outcomes
    assert first is None
    assert failure.check(error.ConnectingCancelledError)
    program.udp.close()
    assert program.leaves_nothing()


def test_a_socket_that_cannot_be_had() -> None:
    program = Associated()
    program.reactor.listen_error = OSError("no room")
    outcome = told(program.udp.open())
    program.accept()
    assert outcome[0].check(error.CannotListenError)
    assert program.leaves_nothing()


def test_what_waits_for_its_turn_is_not_sent_while_all_is_closed() -> None:
    program = Associated(ports=1)
    program.opened()
    program.listen()
    waiting, _ = program.listen()
    waiting.write(b"", TARGET)
    socket = program.socket
    program.udp.close()
    assert (socket.written, program.udp.dropped) == ([], {"waiting": 1})
    assert program.leaves_nothing()


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("hops", "options", "words"),
    [
        (["http://192.0.2.9:8080"], {}, "knows no UDP_ASSOCIATE"),
        (["http://192.0.2.9:8080", PROXY], {}, "knows no UDP_ASSOCIATE"),
        ([PROXY, "socks5s://second.example"], {}, "plain_udp"),
        ([PROXY], {"ports": 0}, "ports 0"),
        ([PROXY], {"announce": "everything"}, "announce 'everything'"),
        ([PROXY], {"udp_address": "relay.example"}, "udp_address 'relay.example'"),
    ],
)
def test_wrong_arguments(hops: list[str], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        proxies(FakeReactor(), *hops).associate(**options)


def test_over_tls_datagrams_are_plain_if_the_program_says_so() -> None:
    Proxy.from_url(FakeReactor(), "socks5s://proxy.example").associate(plain_udp=True)
