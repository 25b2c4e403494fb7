"""The targets' side of an association in memory: what leaves, whereto, who may answer, and what is dropped."""

import errno
from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError, MessageLengthError
from zope.interface.verify import verifyObject

from socks5 import OutgoingFamily, PerFamily, Settings, UDPFiltering
from socks5.access import ALLOWED, DENIED, Verdict
from socks5.interfaces import IDatagrams
from socks5.net.datagram_turns import LOOKUP, turns_of
from socks5.net.own import ports_of
from socks5.outbound import ourselves
from socks5.protocol.address import Address
from tests.support.associations import (
    FROM,
    HERE,
    HOST,
    NAME,
    OTHER,
    SAME_HOST,
    TARGET,
    TARGET6,
    Association,
    Peer,
    to,
)
from tests.support.failures import Failures
from tests.support.providers import Allow
from tests.support.sessions import Server
from tests.support.transports import address

NO_ROUTE = OSError(errno.EHOSTUNREACH, "")
THIRD = ("192.0.2.55", 53)


# ---------------------------------------------------------------- to targets


@pytest.mark.parametrize("outgoing", [None, PerFamily("192.0.2.99", "2001:db8::63")])
def test_one_socket_serves_all_targets_of_a_family(outgoing: PerFamily | None) -> None:
    association = Association(Settings(outgoing=outgoing or PerFamily()))
    association.ask(TARGET, OTHER, TARGET6, ("2001:db8::54", 53))
    ipv4, ipv6 = association.far
    assert verifyObject(IDatagrams, association.server.dialer.opened)
    sources = ["192.0.2.99", "2001:db8::63"] if outgoing else ["0.0.0.0", "::"]
    assert [port.getHost().host for port in (ipv4, ipv6)] == sources
    assert all(port.getHost().port > 40000 for port in (ipv4, ipv6))  # the system's choice
    assert ipv4.written == [(b"ping", TARGET), (b"ping", OTHER)]
    assert ipv6.written == [(b"ping", TARGET6), (b"ping", ("2001:db8::54", 53))]


@pytest.mark.parametrize("target", ["::ffff:192.0.2.53", b"192.0.2.53", b"::ffff:192.0.2.53"])
def test_target_is_the_one_that_its_form_means(target: str | bytes) -> None:
    association = Association()
    association.ask((target, 53))
    association.answer()
    assert association.received == [(b"pong", TARGET, FROM)]
    assert association.resolver.asked == []


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENETUNREACH, errno.EAGAIN, None])
def test_datagram_that_cannot_be_sent_is_dropped(error: int | None) -> None:
    association = Association()
    association.ask()
    association.far[0].error = OSError(error, "") if error else MessageLengthError()
    association.ask(OTHER)
    association.far[0].error = None
    assert association.dropped == {"unsendable": 1}
    association.answer(OTHER)  # who was never reached
    assert association.received == []
    association.ask(OTHER)
    assert association.reached == [TARGET, OTHER]
    association.server.dialer.opened.unsendable(
        False, 2
    )  # what the kernel does not take of a batch
    assert association.dropped["unsendable"] == 3
    assert association.is_alive


@pytest.mark.parametrize(
    ("family", "sent"),
    [
        (OutgoingFamily.ANY, [TARGET, TARGET6, TARGET]),
        (OutgoingFamily.PREFER_IPV6, [TARGET, TARGET6, TARGET6]),
        (OutgoingFamily.IPV4, [TARGET, TARGET]),
        (OutgoingFamily.IPV6, [TARGET6, TARGET6]),
    ],
)
def test_datagrams_leave_over_the_families_of_the_settings(
    family: OutgoingFamily, sent: list[Peer]
) -> None:
    """The others are dropped and counted; a name is reached over the family that is left."""
    names = {NAME[0]: [TARGET6[0], TARGET[0]], b"only4": [TARGET[0]], b"only6": [TARGET6[0]]}
    association = Association(Settings(outgoing_family=family), names=names)
    association.ask(TARGET, TARGET6, NAME)
    assert sorted(association.reached) == sorted(sent)
    dropped = 3 - len(sent)
    assert association.dropped == ({"address family": dropped} if dropped else {})
    association.ask((b"only4", 53), (b"only6", 53))
    assert len(association.sent) == len(sent) + 2 - dropped


# ---------------------------------------------------------------- a name's addresses


class Named(Association):
    """An association, and a name with these addresses. Both outbound sockets are open."""

    def __init__(self, *hosts: str) -> None:
        super().__init__(names={NAME[0]: hosts})
        self.ask(OTHER, TARGET6)
        self.ipv4, self.ipv6 = self.far
        self.tried: list[str] = []
        self.unreachable: dict[str, Exception] = {}
        for port in self.far:
            port.written.clear()
            port.write = self._write(port.write)  # type: ignore[method-assign]

    def _write(self, write: Any) -> Any:
        def tried(datagram: bytes, addr: Peer) -> None:
            self.tried.append(addr[0])
            if addr[0] in self.unreachable:
                raise self.unreachable[addr[0]]
            write(datagram, addr)

        return tried


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES])
def test_a_name_is_tried_at_its_next_address_where_one_has_no_route(number: int) -> None:
    """The family of the control connection first, then the other."""
    named = Named(TARGET6[0], TARGET[0])
    named.unreachable[TARGET[0]] = OSError(number, "")
    named.ask(NAME)
    assert named.tried == [TARGET[0], TARGET6[0]]
    assert (named.reached, named.dropped) == ([TARGET6], {})
    named.ipv6.receive(b"pong", TARGET6)
    assert named.received == [(b"pong", TARGET6, FROM)]
    named.ask(NAME)
    assert named.tried[2:] == [TARGET6[0]], "it keeps that address"
    named.unreachable = {TARGET6[0]: NO_ROUTE}
    named.ask(NAME)
    assert named.tried[3:] == [TARGET6[0], TARGET[0]], "until it cannot be sent to any more"
    assert named.dropped == {}


def test_a_family_without_a_socket_is_passed_over() -> None:
    association = Association(names={NAME[0]: [TARGET6[0], TARGET[0]]})
    association.ask(TARGET6)
    association.reactor.listen_error = OSError(errno.EAFNOSUPPORT, "")
    association.ask(NAME)
    assert (association.reached, association.dropped) == ([TARGET6, TARGET6], {})
    association.ask(TARGET)
    assert association.dropped == {"unsendable": 1}


@pytest.mark.parametrize("error", [OSError(errno.EAGAIN, ""), MessageLengthError()])
def test_what_is_not_the_address_s_fault_leads_to_no_other(error: Exception) -> None:
    """A full buffer, a datagram that is too long."""
    named = Named(TARGET[0], THIRD[0])
    named.ask(NAME)
    named.unreachable[TARGET[0]] = error
    named.ask(NAME)
    assert named.dropped == {"unsendable": 1}
    named.unreachable.clear()
    named.ask(NAME)
    assert set(named.tried) == {TARGET[0]}


def test_an_address_for_which_there_was_no_descriptor_is_tried_again() -> None:
    association = Association(names={NAME[0]: [TARGET[0], THIRD[0]]})
    association.reactor.listen_error = OSError(errno.EMFILE, "")
    association.ask(NAME)
    assert association.dropped == {"unsendable": 1}
    association.reactor.listen_error = None
    association.ask(NAME)
    assert association.reached == [TARGET]


def test_a_name_that_cannot_be_reached_at_all_is_one_datagram_dropped() -> None:
    """So many addresses of it are tried, not all that its owner has thought of; what is known of it may be wrong."""
    hosts = [f"192.0.2.{number}" for number in range(100, 116)]
    named = Named(*hosts)
    named.unreachable = dict.fromkeys(hosts, NO_ROUTE)
    named.ask(NAME)
    assert named.tried == hosts[:8]
    assert named.dropped == {"unsendable": 1}
    named.ask(NAME)
    assert named.tried[8:] == hosts[8:], "those that were not tried go first"
    assert named.resolver.distrusted == []
    named.unreachable.clear()
    named.ask(NAME)
    assert len(named.sent) == 1
    assert named.resolver.distrusted == [NAME[0]]


@pytest.mark.parametrize(
    ("host", "peer", "target"),
    [("203.0.113.1", HOST, TARGET), ("2001:db8::1", "2001:db8::7", TARGET6)],
)
def test_name_leads_to_the_control_connections_family(host: str, peer: str, target: Peer) -> None:
    ends = {"host": address(host, 1080), "peer": address(peer, 51234)}
    association = Association(names={NAME[0]: [TARGET6[0], TARGET[0]]}, **ends)
    association.ask(NAME, sender=(peer, 5000))
    assert association.reached == [target]


# ---------------------------------------------------------------- names that are waited for, and names in use


def test_a_name_that_has_to_be_looked_up_takes_from_the_client_s_share() -> None:
    association = Association(names={NAME[0]: [TARGET[0]]})
    share = turns_of(association.reactor).share_of(HOST)
    before = share.left
    association.ask(NAME, NAME, TARGET)
    assert before - share.left == LOOKUP


def test_only_so_many_datagrams_wait_for_names() -> None:
    association = Association(Settings(udp_names_waiting=2))
    association.ask((b"a", 53), (b"a", 53), (b"b", 53))
    assert association.resolver.asked == [b"a", b"a"]
    assert association.resolver.askers == [HOST] * 2
    assert association.dropped == {"too many names": 1}
    association.resolver.answer(b"a", [TARGET[0]])
    association.ask((b"b", 53), (b"b", 53), (b"b", 53))
    association.resolver.answer(b"b", [OTHER[0]])
    assert association.reached == [TARGET] * 2 + [OTHER] * 2
    assert association.dropped == {"too many names": 2}


def test_only_so_many_octets_wait_for_names() -> None:
    association = Association(Settings(udp_octets_waiting=10))
    for size in (6, 5, 4):
        association.near.receive(to((b"a", 53), b"x" * size), FROM)
    assert association.dropped == {"too many names": 1}
    association.resolver.answer(b"a", [TARGET[0]])
    assert [len(payload) for payload, _ in association.sent] == [6, 4]
    association.near.receive(to((b"b", 53), b"x" * 10), FROM)
    assert association.dropped == {"too many names": 1}


def test_unknown_name_is_dropped_and_does_not_hold_up_the_others() -> None:
    association = Association(Settings(udp_names_waiting=1))
    for count in (1, 2):
        association.ask(NAME, OTHER)
        assert association.reached == [OTHER] * count
        association.resolver.answer(NAME[0], DNSLookupError())
        assert association.dropped == {"unknown name": count}
    assert association.is_alive


def test_the_end_of_an_association_ends_its_lookups() -> None:
    """They are in the client's share, where they would keep its next ones waiting."""
    association = Association()
    association.ask((b"a", 53), (b"b", 53))
    association.client.end()
    assert sorted(association.resolver.cancelled) == [b"a", b"b"]
    assert (association.dropped, association.far) == ({}, [])


def test_a_name_keeps_its_address_while_datagrams_flow() -> None:
    association = Association(names={NAME[0]: [TARGET[0]]})
    for _ in range(10):
        association.ask(NAME)
        association.resolver.answers[NAME[0]] = [OTHER[0]]
        association.answer()
        association.reactor.advance(60)
    assert set(association.reached) == {TARGET}
    association.reactor.pump([60] * 3)
    association.ask(NAME)
    assert association.reached[-1] == OTHER


@pytest.mark.parametrize(
    ("found", "reached"),
    [
        ([OTHER[0]], OTHER),
        ([OTHER[0], TARGET[0]], TARGET),  # not everybody answers
        (DNSLookupError(), TARGET),
    ],
)
def test_a_name_that_never_answers_is_looked_up_anew(
    found: Sequence[str] | Exception, reached: Peer
) -> None:
    """In the time after which a silent one's would be, without a datagram that is held up."""
    association = Association(names={NAME[0]: [TARGET[0]]})
    resolver = association.resolver
    association.ask(NAME)
    del resolver.answers[NAME[0]]
    for _ in range(4):
        association.reactor.advance(60)
        association.ask(NAME)
    assert (association.reached, len(resolver.asked)) == ([TARGET] * 5, 2)
    resolver.answers[NAME[0]] = found
    resolver.answer(NAME[0], found)
    association.ask(NAME)
    assert association.reached[5:] == [reached]


# ---------------------------------------------------------------- the rules, and their verdicts


def test_rules_judge_every_target_once_while_it_is_in_use() -> None:
    rules = Allow(lambda _, host: host != OTHER[0])
    association = Association(rules=rules, names={NAME[0]: [OTHER[0], TARGET[0]]})
    association.ask(TARGET, TARGET, OTHER, NAME, NAME)
    assert association.reached == [TARGET] * 4
    assert association.dropped == {"not allowed": 1}
    asked = [(access.target, host) for access, host in rules.asked[1:]]
    literals = [(Address(*each), host) for each in (TARGET, OTHER) for host in (None, each[0])]
    assert asked == literals + [(Address(*NAME), host) for host in (None, OTHER[0], TARGET[0])]
    assert {(access.client, access.command) for access, _ in rules.asked} == {(HOST, 3)}
    association.answer(OTHER)
    assert association.received == [], "who was refused cannot answer"


@pytest.mark.parametrize("target", ["0.0.0.0", "::ffff:127.0.0.1", b"127.0.0.1", b"localhost"])
def test_client_elsewhere_cannot_reach_this_host(target: str | bytes) -> None:
    association = Association(names={b"localhost": [HERE, "::1"]})
    association.ask((target, 53))
    assert association.far == []
    assert association.dropped == {"not allowed": 1}


@pytest.mark.parametrize("target", [TARGET, NAME])
def test_bug_in_the_rules_ends_the_association(target: Any, failures: Failures) -> None:
    rules = Allow(lambda access, _: access.target.port == 0 or bool(1 / 0))
    association = Association(rules=rules)
    association.ask(target)
    association.resolver.answer(NAME[0], [TARGET[0]])
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    assert not association.is_alive
    assert association.client.sees == "end"


class Judged(Association):
    """An association whose targets' verdicts a test gives. They are asked for twice: without and with the address."""

    def __init__(self, names: dict[bytes, Any] | None = None, **settings: Any) -> None:
        self.verdicts: list[Deferred[Verdict]] = []
        rules = Allow(lambda access, _: self._wait() if access.target.port else ALLOWED)
        super().__init__(Settings(**settings), rules=rules, names=names)

    def _wait(self) -> Deferred[Verdict]:
        self.verdicts.append(Deferred())
        return self.verdicts[-1]

    def judge(self, *verdicts: Verdict) -> None:
        for verdict in verdicts:
            waiting, self.verdicts = self.verdicts, []
            for each in waiting:
                each.callback(verdict)


@pytest.mark.parametrize(
    ("target", "verdicts", "reached"),
    [
        (TARGET, [ALLOWED, ALLOWED], [TARGET]),
        (TARGET, [DENIED], []),
        (TARGET, [ALLOWED, DENIED], []),
        (NAME, [DENIED], []),
        (NAME, [ALLOWED, DENIED, DENIED], []),
        (NAME, [ALLOWED, DENIED, ALLOWED], [OTHER]),
    ],
)
def test_a_datagram_waits_for_its_verdicts(
    target: Any, verdicts: list[Verdict], reached: list[Peer]
) -> None:
    association = Judged({NAME[0]: [TARGET[0], OTHER[0]]})
    association.ask(target)
    assert association.sent == []
    association.judge(*verdicts)
    assert association.reached == reached
    assert association.dropped == ({} if reached else {"not allowed": 1})


@pytest.mark.parametrize("bounds", [{"udp_names_waiting": 2}, {"udp_octets_waiting": 8}])
def test_so_many_wait_and_no_more(bounds: dict[str, int]) -> None:
    association = Judged(**bounds)
    association.ask(TARGET, OTHER, SAME_HOST)
    assert association.dropped == {"too many verdicts": 1}
    association.judge(ALLOWED, ALLOWED)
    association.ask(THIRD)
    association.judge(ALLOWED, ALLOWED)
    assert association.reached == [TARGET, OTHER, THIRD]


@pytest.mark.parametrize(
    ("give_up", "dropped"),
    [
        (lambda association: association.client.end(), {}),
        (lambda association: association.server.dialer.opened.rejudge(), {"not allowed": 1}),
    ],
)
def test_what_waits_is_given_up_with_the_association_and_with_the_rules(
    give_up: Any, dropped: dict[str, int]
) -> None:
    association = Judged()
    association.ask()
    give_up(association)
    assert association.verdicts[0].called
    assert turns_of(association.reactor).share_of(HOST).budget.octets_waiting == 0
    assert (association.sent, association.dropped) == ([], dropped)


def test_rules_that_were_replaced_judge_the_next_datagram() -> None:
    """And nobody answers before he is sent to again."""
    refused: set[str] = set()
    association = Association(rules=Allow(lambda _, host: host not in refused))
    association.ask(TARGET, OTHER)
    refused.add(TARGET[0])
    association.server.dialer.opened.rejudge()
    association.answer(TARGET)
    association.ask(TARGET, OTHER)
    association.answer(OTHER)
    assert association.reached == [TARGET, OTHER, OTHER]
    assert association.received == [(b"pong", OTHER, FROM)]
    assert association.dropped == {"unasked": 1, "not allowed": 1}


# ---------------------------------------------------------------- who may answer


@pytest.mark.parametrize(
    ("filtering", "reached"),
    [
        (UDPFiltering.ENDPOINT_INDEPENDENT, [TARGET, SAME_HOST, OTHER]),
        (UDPFiltering.ADDRESS_DEPENDENT, [TARGET, SAME_HOST]),
        (UDPFiltering.ADDRESS_AND_PORT_DEPENDENT, [TARGET]),
        (Settings().udp_filtering, [TARGET, SAME_HOST]),
    ],
)
def test_filtering_lets_in(filtering: UDPFiltering, reached: list[Peer]) -> None:
    association = Association(Settings(udp_filtering=filtering))
    association.ask()
    association.answer(TARGET, SAME_HOST, OTHER)
    assert [sender for _, sender, _ in association.received] == reached
    unasked = 3 - len(reached)
    assert association.dropped == ({"unasked": unasked} if unasked else {})


@pytest.mark.parametrize("filtering", UDPFiltering)
def test_target_with_a_zone_may_answer(filtering: UDPFiltering) -> None:
    """Its zone is a matter of this host: the client is told the address alone, as of one in IPv6's form."""
    association = Association(Settings(udp_filtering=filtering), rules=Allow())
    association.ask(TARGET, (b"fe80::1%lo", 53), (b"fe80::1%lo", 53))
    assert association.reached[1:] == [("fe80::1%lo", 53)] * 2
    association.answer(("fe80::1%lo", 53, 0, 2), ("::ffff:192.0.2.53", 53))  # type: ignore[arg-type]
    assert association.received == [(b"pong", ("fe80::1", 53), FROM), (b"pong", TARGET, FROM)]


def test_targets_beyond_the_bound_are_none_until_another_is_silent() -> None:
    association = Association(Settings(udp_targets=2))
    association.ask(TARGET, OTHER, THIRD)
    assert association.reached == [TARGET, OTHER]
    for _ in range(4):
        association.reactor.advance(60)
        association.ask(TARGET)
    association.ask(THIRD)
    association.answer(TARGET, OTHER, THIRD)
    assert [sender for _, sender, _ in association.received] == [TARGET, THIRD]
    assert association.dropped == {"too many targets": 1, "unasked": 1}


def test_the_targets_of_all_associations_of_a_client_count() -> None:
    server = Server(Settings(udp_targets=2))
    first, second = Association(server=server), Association(server=server)
    first.ask(TARGET)
    second.ask(OTHER, THIRD)
    assert first.dropped == {"too many targets": 1}
    first.client.end()
    second.ask(THIRD)
    assert first.dropped == {"too many targets": 1}


# ---------------------------------------------------------------- ourselves, and what the sockets tell


def test_nothing_is_sent_to_a_socket_of_the_proxy() -> None:
    first = Association.local(names={b"localhost": [HERE]})
    second = Association.local(first.server)
    first.ask(sender=(HERE, 5000))
    ports = [port.getHost().port for port in (first.near, second.near, first.far[-1])]
    for port in ports:
        for host in (HERE, "::ffff:127.0.0.1", b"127.0.0.1", "0.0.0.0", b"localhost"):
            first.ask((host, port), sender=(HERE, 5000))
        first.ask(("64:ff9b::127.0.0.1", port), sender=(HERE, 5000))  # which a NAT64 leads here
    first.ask(("127.0.0.9", ports[2]), sender=(HERE, 5000))  # a socket of all IPv4 addresses
    assert (first.reached, first.dropped) == ([TARGET], {"ourselves": 19})
    second.client.end()
    others = [(HERE, 53), (HERE, ports[1]), (TARGET[0], ports[0])]
    first.ask(*others, sender=(HERE, 5000))
    assert first.reached[1:] == others


@pytest.mark.parametrize("is_own", [False, True])
def test_a_link_local_client_is_looked_for_in_its_zone(
    monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    monkeypatch.setattr(
        ourselves, "is_own_address", lambda host, unknown: is_own and host == "fe80::7%lo"
    )
    association = Association(host=address("fe80::1%lo", 1080), peer=address("fe80::7%lo", 51234))
    association.ask(sender=("fe80::7%lo", 5000))
    ports_of(association.reactor).add("fe80::7%lo", 5000)
    association.answer()
    assert association.dropped == ({"ourselves": 1} if is_own else {})


def test_an_advertised_address_is_the_proxys() -> None:
    association = Association(Settings(advertise=PerFamily(ipv4="192.0.2.99")))
    association.ask(("192.0.2.99", 40000), ("192.0.2.99", 53))
    assert association.reached == [("192.0.2.99", 53)]
    assert association.dropped == {"ourselves": 1}


@pytest.mark.parametrize(("sender", "target"), [(5000, (HERE, 41000)), (41000, TARGET)])
def test_what_becomes_the_proxys_is_nobody_s_any_more(sender: int, target: Peer) -> None:
    """Neither a target that does, nor the client's own port."""
    association = Association.local()
    association.ask(target, sender=(HERE, sender))
    ports_of(association.reactor).add(HERE, 41000)
    association.ask(target, sender=(HERE, sender))
    association.answer(target)
    assert association.reached == [target]
    assert association.received == []
    assert association.dropped == {"ourselves": 2}


def test_a_datagram_behind_the_end_in_one_reading_is_nothing() -> None:
    association = Association()
    association.ask()
    association.client.end()
    for port in (association.near, *association.far):
        port.protocol.datagramReceived(to(OTHER), FROM)
    assert association.reached == [TARGET]
    assert association.dropped == {}
