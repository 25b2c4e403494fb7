"""The client's side of an association in memory: where it is, who may use it, fragments, and what answers look like."""

import errno
import random
from typing import Any

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.error import MessageLengthError
from zope.interface.verify import verifyObject

from socks5 import PerFamily, Settings, UDPPin
from socks5.interfaces import IDatagramReceiver
from tests.support.associations import (
    FROM,
    HOST,
    MOVED,
    OTHER,
    TARGET,
    Association,
    Peer,
    to,
)
from tests.support.failures import Failures
from tests.support.sessions import Server, octets, refusal
from tests.support.transports import address

STRANGER = ("198.51.100.8", 5000)


# ---------------------------------------------------------------- where it is


@pytest.mark.parametrize(
    ("host", "peer", "bound"),
    [
        ("203.0.113.1", HOST, "01 cb007101 9c40"),  # port 40000, the first free one
        ("2001:db8::1", "2001:db8::7", "04 20010db8000000000000000000000001 9c40"),
        ("::ffff:203.0.113.1", f"::ffff:{HOST}", "01 cb007101 9c40"),
        ("fe80::1%eth0", "fe80::7%eth0", "04 fe800000000000000000000000000001 9c40"),
        ("", "", "01 7f000001 9c40"),  # a UNIX socket's is on the loopback
    ],
)
def test_socket_is_on_the_control_connections_address(host: str, peer: str, bound: str) -> None:
    """As the reply says, for answers come from there."""
    ends = [address(each, 1080) if each else UNIXAddress(None) for each in (host, peer)]
    association = Association(host=ends[0], peer=ends[1])
    assert verifyObject(IDatagramReceiver, association.server.dialer.receiver)
    assert association.near.getHost().host == (host.removeprefix("::ffff:") or "127.0.0.1")
    assert association.reply == octets("05 00 00" + bound)
    association.ask(sender=(peer or "127.0.0.1", 5000))
    association.answer()
    assert (association.reached, len(association.received)) == ([TARGET], 1)


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("203.0.113.1", "01 c0000263 9c40"),
        ("2001:db8::1", "04 20010db8000000000000000000000063 9c40"),
    ],
)
def test_reply_has_the_advertised_address(host: str, bound: str) -> None:
    settings = Settings(advertise=PerFamily("192.0.2.99", "2001:db8::63"))
    association = Association(settings, host=address(host, 1080))
    assert association.reply == octets("05 00 00" + bound)
    assert association.near.getHost().host == host


@pytest.mark.parametrize("chance", [0, 1, 2])
@pytest.mark.parametrize("free", [{6000, 6001, 6002}, {6000}, {6001}, {6002}, set()])
def test_port_is_any_of_the_range_that_is_free(
    monkeypatch: pytest.MonkeyPatch, chance: int, free: set[int]
) -> None:
    monkeypatch.setattr(random, "randrange", lambda count: chance if count == 3 else None)
    server = Server(Settings(udp_ports=(6000, 6002)))
    server.reactor.taken_ports = {6000, 6001, 6002} - free
    association = Association(server=server)
    if not free:
        assert (association.reply, association.client.sees) == (refusal(1), "end")
        assert server.counters.open_associations == {}
        return
    port = association.near.getHost().port
    assert {port} == ({6000 + chance} if len(free) == 3 else free)


@pytest.mark.parametrize(("number", "code"), [(errno.EADDRNOTAVAIL, 3), (errno.EMFILE, 1)])
def test_address_without_a_socket_gets_its_reply(number: int, code: int) -> None:
    server = Server()
    server.reactor.listen_error = OSError(number, "")
    assert Association(server=server).reply == refusal(code)


# ---------------------------------------------------------------- who may use it

ANNOUNCED, IP_PORT = Settings(udp_pin=UDPPin.ANNOUNCED), Settings(udp_pin=UDPPin.IP_PORT)
NOBODY = ("0.0.0.0", 0)


@pytest.mark.parametrize(
    ("settings", "announced", "senders", "let_in"),
    [
        (Settings(udp_pin=UDPPin.IP), FROM, [FROM, MOVED], [FROM, MOVED]),
        (IP_PORT, NOBODY, [FROM, MOVED, FROM], [FROM, FROM]),
        (IP_PORT, FROM, [MOVED, FROM], [MOVED]),  # whatever was announced
        (ANNOUNCED, FROM, [MOVED, FROM, MOVED], [FROM]),
        (ANNOUNCED, ("0.0.0.0", 5000), [MOVED, FROM], [FROM]),
        (ANNOUNCED, (f"::ffff:{HOST}", 5000), [MOVED, FROM], [FROM]),
        # What is not announced, or not credible, is learnt.
        (ANNOUNCED, NOBODY, [FROM, MOVED], [FROM]),
        (ANNOUNCED, (HOST, 0), [FROM, MOVED], [FROM]),
        (ANNOUNCED, ("192.0.2.53", 53), [FROM, MOVED], [FROM]),  # the target, as some clients do
        (ANNOUNCED, ("10.0.0.7", 4000), [FROM, MOVED], [FROM]),  # in front of a NAT
        (ANNOUNCED, ("2001:db8::7", 4000), [FROM, MOVED], [FROM]),
    ],
)
def test_the_pin_lets_in(
    settings: Settings, announced: Peer, senders: list[Peer], let_in: list[Peer]
) -> None:
    association = Association(settings, announced=announced)
    for sender in senders:
        association.ask((f"192.0.2.{sender[1] - 4999}", 53), sender=sender)
    assert [port - 4999 for _, port in let_in] == [
        int(host.rpartition(".")[2]) for host, _ in association.reached
    ]
    strangers = len(senders) - len(let_in)
    assert association.dropped == ({"stranger": strangers} if strangers else {})


@pytest.mark.parametrize("settings", [Settings(), IP_PORT])
@pytest.mark.parametrize(
    ("datagram", "sender"),
    [(to(OTHER), STRANGER), (to(OTHER), ("203.0.113.1", 5000)), (b"garbage", MOVED)],
)
def test_strangers_and_garbage_pin_nobody_and_redirect_no_answers(
    settings: Settings, datagram: bytes, sender: Peer
) -> None:
    association = Association(settings)
    association.near.receive(datagram, sender)
    association.ask()
    association.near.receive(datagram, sender)
    association.answer()
    assert association.reached == [TARGET]
    assert association.received == [(b"pong", TARGET, FROM)]
    assert sum(association.dropped.values()) == 2
    assert association.is_alive


@pytest.mark.parametrize(
    "datagram",
    [
        *("", "00", "0000", "000000", "00000001"),
        "00000001c000023500",  # shorter than its header
        "00010001c00002350035ff",  # RSV
        "01000001c00002350035ff",
        "00000002c00002350035ff",  # ATYP
        "0000000303610062 0035ff",  # a zero octet in a name
    ],
)
def test_malformed_datagram_is_dropped(datagram: str) -> None:
    association = Association()
    association.near.receive(octets(datagram), FROM)
    assert association.far == []
    assert association.dropped == {"malformed": 1}
    association.ask()
    assert association.reached == [TARGET]


# ---------------------------------------------------------------- fragments


def fragments(association: Association, *positions: int, size: int = 0) -> None:
    """The client sends one fragment of each position; its payload is the position, or *size* octets."""
    for position in positions:
        payload = b"x" * size if size else b"%d" % (position & 0x7F)
        association.near.receive(to(TARGET, payload, position), FROM)


LAST = 0x80


@pytest.mark.parametrize(
    ("positions", "sent", "dropped"),
    [
        ([1, 2, LAST | 3], [b"123"], 0),
        ([1, 2, 1, LAST | 2], [b"12"], 2),  # a lower one starts anew
        ([1, LAST | 3], [], 2),  # one is missing
        ([1, 0, LAST | 2, 1, LAST | 2], [b"0", b"12"], 2),  # a whole datagram is between them
    ],
)
def test_fragments_make_one_datagram(positions: list[int], sent: list[bytes], dropped: int) -> None:
    association = Association()
    fragments(association, *positions)
    assert association.sent == [(payload, TARGET) for payload in sent]
    assert association.dropped == ({"fragment": dropped} if dropped else {})


def test_fragments_of_two_ports_make_no_datagram() -> None:
    association = Association()
    association.near.receive(to(TARGET, b"1", 1), FROM)
    association.near.receive(to(TARGET, b"2", LAST | 2), MOVED)
    assert association.sent == []
    assert association.dropped == {"fragment": 2}


@pytest.mark.parametrize(
    ("between", "is_up"),
    [
        (lambda both: both.unsendable(True, 1), True),
        (lambda both: both.moved(True, 1, 1), True),
        (lambda both: both.moved(False, 1, 1), False),
    ],
)
def test_so_does_a_batch_on_its_way_up(between: Any, is_up: bool) -> None:
    association = Association()
    fragments(association, 1)
    between(association.server.dialer.receiver)
    fragments(association, LAST | 2)
    assert association.sent == ([] if is_up else [(b"12", TARGET)])
    assert association.dropped.get("fragment", 0) == (2 if is_up else 0)


def test_fragments_are_dropped_in_time() -> None:
    association = Association()
    fragments(association, 1)
    association.reactor.advance(2)
    fragments(association, 2)  # does not prolong it
    association.reactor.advance(2.99)
    assert association.dropped == {}
    association.reactor.advance(0.01)
    assert association.dropped == {"fragment": 2}
    fragments(association, LAST | 3)
    assert association.sent == []


@pytest.mark.parametrize(
    ("steps", "sent"),
    [
        ([(1,), (1, 2, 1), (LAST | 2,)], [b"12"]),  # it starts anew with the sequence
        ([(1, 2), (LAST | 3, 1), (LAST | 2,)], [b"123", b"12"]),  # and ends with it
    ],
)
def test_each_sequence_has_its_own_time(steps: Any, sent: list[bytes]) -> None:
    association = Association()
    for positions in steps:
        fragments(association, *positions)
        association.reactor.advance(4)
    assert [payload for payload, _ in association.sent] == sent


def test_reassembly_is_bounded() -> None:
    association = Association()
    fragments(association, 1, size=65000)
    fragments(association, 2, size=508)
    assert association.dropped == {"fragment": 2}
    fragments(association, 1, size=65000)
    fragments(association, LAST | 2, size=507)
    assert [len(payload) for payload, _ in association.sent] == [65507]


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("error", [MessageLengthError(), OSError(errno.EAGAIN, "")])
def test_answer_that_cannot_be_sent_is_dropped(error: Exception) -> None:
    association = Association()
    association.ask()
    association.near.error = error
    association.answer()
    association.near.error = None
    association.answer()
    assert association.dropped == {"unsendable": 1}
    assert association.received == [(b"pong", TARGET, FROM)]


def test_bug_on_the_way_back_ends_the_association(failures: Failures) -> None:
    association = Association()
    association.ask()
    association.near.error = RuntimeError("a bug")
    association.answer()
    assert failures.take(RuntimeError) == ["a bug"]
    assert not association.is_alive


# ---------------------------------------------------------------- what is counted


def test_record_and_counters_count_payload_and_what_moved_in_batches() -> None:
    association = Association()
    association.near.receive(to(TARGET, b"12345"), FROM)
    association.answer(TARGET, OTHER)
    both = association.server.dialer.receiver
    both.moved(False, 2, 200)
    both.moved(True, 3, 30)
    both.unsendable(True, 1)
    counters = association.server.counters
    assert (counters.datagrams_up, counters.datagrams_down) == (4, 3)
    association.client.end()
    [record] = association.server.records
    assert (record.bytes_up, record.bytes_down, record.dropped) == (35, 204, 2)
    where = ("udp", "0.0.0.0:0", "203.0.113.1:40000")
    assert (record.command, record.target, record.bound) == where
