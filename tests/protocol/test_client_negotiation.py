"""The client's half: whole conversations in octets written out by hand after RFC 1928, 1929 and 1961."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socks5.protocol.address import Address
from socks5.protocol.client_negotiation import ClientNegotiation, ReplyReceived
from socks5.protocol.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    LocalProtocolError,
    NoAcceptableMethod,
    RemoteProtocolError,
    ReplyError,
)
from socks5.protocol.gssapi import MAX_TOKEN, MAX_TOKENS
from socks5.protocol.messages import Credentials, Reply, Request
from socks5.protocol.stages import CLIENT_NEXT, ProtectionReceived, Stage, TokenReceived
from tests.support import negotiations as said
from tests.support.negotiations import (
    ASK,
    BOUND,
    DONE,
    HELLO,
    LEVEL,
    OK,
    TARGET,
    TOKEN,
    USER,
    Cut,
    octets,
    refused,
)

OVER, RELAY, METHOD = Stage.CLOSED, Stage.ESTABLISHED, Stage.METHOD
GREETED, ASKED, BIND_ASKED = "05 01 00", f"05 01 00 {ASK}", f"05 01 00 {said.BIND}"
OFFERED, LOGGED_IN, WITH_CONTEXT = "05 02 00 02", f"05 02 00 02 {said.USER_OCTETS}", "05 02 01 00"


@dataclass(frozen=True)
class Flow:
    """A server's octets, whether it then *ends*, and what must come of them. The context, if the client *has* one, is
    complete after so many *legs*; only so many events are *answered*, if it is said.
    """

    server: str
    events: Sequence[object]
    output: str = ASKED
    stage: Stage = OVER
    trailing: bytes = b""
    command: int = 1
    user: Credentials | None = None
    has: bool = False
    ends: bool = False
    legs: int = 1
    answered: int | None = None

    def machine(self) -> ClientNegotiation:
        return ClientNegotiation(Request(self.command, TARGET), self.user, self.has)

    def run(self, cut: Cut) -> said.Outcome:
        pieces = cut(octets(self.server))
        return use(self.machine(), pieces, self.ends, self.legs, self.answered)


def use(
    machine: ClientNegotiation,
    pieces: Iterable[bytes],
    ends: bool,
    legs: int = 1,
    answered: int | None = None,
) -> said.Outcome:
    """Be the caller of a client. The level will do: none."""
    talk = said.Talk(machine)

    def note(new: Sequence[object]) -> None:
        talk.step(*new)
        if len(talk.events) - 1 == answered:
            return
        if machine.stage is Stage.TOKEN:
            is_complete = sum(isinstance(event, TokenReceived) for event in talk.events) > legs
            answer = machine.require_protection if is_complete else machine.send_token
            note(answer(b"level" if is_complete else b"secret"))
        elif machine.stage is Stage.CHOICE:
            waiting = machine.accept_protection()
            note([])
            note(machine.receive(waiting))

    for piece in pieces:
        note(machine.receive(piece))
    if ends:
        talk.step(machine.receive_end())
    return talk.outcome


def got(address: Address) -> ReplyReceived:
    return ReplyReceived(Reply(0, address))


FIRST, LAST, ANY_LEVEL = TokenReceived(b""), TokenReceived(b"done"), ProtectionReceived(b"level")
FAILED, WRONG, NONE = [AuthenticationFailed], [RemoteProtocolError], [NoAcceptableMethod]

# fmt: off
FLOWS = {
    "nothing at all": Flow("", [], GREETED, METHOD),
    "octets glued behind the reply": Flow(f"05 00 {OK} {HELLO}", [got(BOUND)], ASKED, RELAY, b"hello"),
    "what looks like a reply there": Flow(f"05 00 {OK} 05 01 00 03", [got(BOUND)], ASKED, RELAY, b"\5\1\0\3"),
    "the end after the reply is the relay's": Flow(f"05 00 {OK}", [got(BOUND)], ASKED, RELAY, ends=True),
    "a name in it": Flow(f"05 00 05 00 00 {said.NAMED_OCTETS}", [got(said.NAMED)], ASKED, RELAY),

    "a password": Flow(f"05 02 01 00 {OK}", [got(BOUND)], f"{LOGGED_IN} {ASK}", RELAY, user=USER),
    "its status with VER 5": Flow(f"05 02 05 00 {OK}", [got(BOUND)], f"{LOGGED_IN} {ASK}", RELAY, user=USER),
    "offered and not wanted": Flow(f"05 00 {OK}", [got(BOUND)], f"{OFFERED} {ASK}", RELAY, user=USER),
    "a wrong password": Flow("05 02 01 01", FAILED, LOGGED_IN, user=USER),
    "a wrong password, status 255 with VER 5": Flow("05 02 05 ff", FAILED, LOGGED_IN, user=USER),
    "a status of another version": Flow("05 02 02 00", WRONG, LOGGED_IN, user=USER),

    "GSSAPI": Flow(
        f"05 01 {DONE} {LEVEL} {OK} {HELLO}", [FIRST, LAST, ANY_LEVEL, got(BOUND)],
        f"{WITH_CONTEXT} {TOKEN} {LEVEL} {ASK}", RELAY, b"hello", has=True,
    ),
    "several tokens": Flow(
        f"05 01 {said.MORE} 01 01 0000 {said.BARE} {OK}",
        [FIRST, TokenReceived(b"more"), FIRST, ProtectionReceived(b"\0"), got(BOUND)],
        f"05 03 01 00 02 {TOKEN} {TOKEN} {LEVEL} {ASK}", RELAY, user=USER, has=True, legs=2,
    ),
    "a context that is not accepted": Flow(
        "05 01 01 ff", [FIRST, AuthenticationFailed], f"{WITH_CONTEXT} {TOKEN}", has=True,
    ),
    "a level that will not do": Flow(
        f"05 01 {DONE} 01 ff", [FIRST, LAST, AuthenticationFailed],
        f"{WITH_CONTEXT} {TOKEN} {LEVEL}", has=True,
    ),
    "a token of another version": Flow(
        f"05 01 {OK}", [FIRST, RemoteProtocolError], f"{WITH_CONTEXT} {TOKEN}", has=True,
    ),
    "a reply where a level is due": Flow(
        f"05 01 {DONE} {OK}", [FIRST, LAST, RemoteProtocolError], f"{WITH_CONTEXT} {TOKEN} {LEVEL}", has=True,
    ),
    "endless tokens": Flow(
        f"05 01 {'01 01 0000' * (MAX_TOKENS + 1)}", [*[FIRST] * (MAX_TOKENS + 1), RemoteProtocolError],
        f"{WITH_CONTEXT} {TOKEN * (MAX_TOKENS + 1)}", has=True, legs=MAX_TOKENS + 2,
    ),
    "the end instead of a token": Flow(
        "05 01 01 01 0004 64", [FIRST, RemoteProtocolError], f"{WITH_CONTEXT} {TOKEN}", has=True, ends=True,
    ),
    "the end before our token": Flow(
        "05 01", [FIRST, RemoteProtocolError], WITH_CONTEXT, has=True, ends=True, answered=0,
    ),
    "the end before our verdict on the level": Flow(
        f"05 01 {DONE} {LEVEL}", [FIRST, LAST, ANY_LEVEL, RemoteProtocolError],
        f"{WITH_CONTEXT} {TOKEN} {LEVEL}", has=True, ends=True, answered=2,
    ),

    "no acceptable method, the rest glued": Flow(f"05 ff {OK}", NONE, GREETED),
    "a password wanted and not offered": Flow("05 02 01 00", WRONG, GREETED),
    "GSSAPI was not offered": Flow("05 01", WRONG, OFFERED, user=USER),
    "not a SOCKS5 server": Flow(b"HTTP/1.1 400 Bad Request\r\n\r\n".hex(), WRONG, GREETED),
    "a reply of another version": Flow(f"05 00 04 00 00 {said.BOUND_OCTETS}", WRONG),
    "success with an unknown address type": Flow("05 00 05 00 00 00 00000000 0000", WRONG),
    "refused": Flow(f"05 00 {refused(5)} {HELLO}", [ConnectionRefused]),
    "refused, with zeros behind REP": Flow("05 00 05 05 00 00 00000000 0000", [ConnectionRefused]),
    "refused, with a zero in a name": Flow("05 00 05 05 00 03 02 6100 0000", [ConnectionRefused]),
    **{
        f"refused shortly, {reply}": Flow(f"05 00 {reply}", [ConnectionRefused], ends=True)
        for reply in ("05 05", "05 05 00", "05 05 00 01 00000000 00")
    },
    "refused shortly, unassigned": Flow("05 00 05 ff", [ReplyError], ends=True),
    "a short reply without an end is not whole": Flow("05 00 05 05", [], stage=Stage.COMMAND),
    "success cut short": Flow("05 00 05 00 00 01 00000000 00", WRONG, ends=True),
    "the end instead of a reply": Flow("05 00", WRONG, ends=True),
    "the end in the middle of a method": Flow("05", WRONG, GREETED, ends=True),
    "the end instead of a status": Flow("05 02 01", WRONG, LOGGED_IN, user=USER, ends=True),

    "BIND": Flow(f"05 00 {OK} {said.CAME} {HELLO}", [got(BOUND), got(said.PEER)], BIND_ASKED, RELAY, b"hello", 2),
    "nobody came": Flow(f"05 00 {OK} {refused(5)}", [got(BOUND), ConnectionRefused], BIND_ASKED, command=2),
    "nobody came, said shortly": Flow(
        f"05 00 {OK} 05 05", [got(BOUND), ConnectionRefused], BIND_ASKED, command=2, ends=True,
    ),
    "the end instead of a peer": Flow(
        f"05 00 {OK}", [got(BOUND), RemoteProtocolError], BIND_ASKED, command=2, ends=True,
    ),
    "still listening": Flow(f"05 00 {OK} 05 00", [got(BOUND)], BIND_ASKED, Stage.SECOND_REPLY, command=2),
}
# fmt: on


@said.in_any_cut
@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_a_flow(flow: Flow, cut: Cut) -> None:
    said.check(flow.run(cut), flow)


def test_the_flows_walk_every_way_of_the_table() -> None:
    """And no other way; octet by octet, so that each step is seen."""
    steps = [flow.run(said.octet_by_octet).steps for flow in FLOWS.values()]
    assert set().union(*steps) == said.edges(CLIENT_NEXT)


def test_a_client_that_could_not_send_is_not_made() -> None:
    """The mistake shows before a connection is wasted on it."""
    for address in (Address("192.0.2.1", 65536), Address(b"a" * 256, 80), Address(b"", 80)):
        with pytest.raises(LocalProtocolError):
            ClientNegotiation(Request(1, address), None)
    for user, password in ((256, 1), (1, 256), (0, 1), (1, 0)):
        with pytest.raises(LocalProtocolError):
            ClientNegotiation(Request(1, TARGET), Credentials(b"u" * user, b"p" * password))


# ---------------------------------------------------------------- every call at every stage

WAYS = {
    METHOD: Flow("", []),
    Stage.CHECKING: Flow("05 02", [], user=USER),
    Stage.TOKEN: Flow("05 01", [], has=True, answered=0),
    Stage.CONTEXT: Flow("05 01", [], has=True),
    Stage.PROTECTION: Flow(f"05 01 {DONE}", [], has=True),
    Stage.CHOICE: Flow(f"05 01 {DONE} {LEVEL}", [], has=True, answered=2),
    Stage.COMMAND: Flow("05 00", []),
    Stage.SECOND_REPLY: Flow(f"05 00 {OK}", [], command=2),
    RELAY: Flow(f"05 00 {OK}", []),
    OVER: Flow("05 ff", []),
}

CALLS: dict[str, Callable[[ClientNegotiation], object]] = {
    "send_token": lambda machine: machine.send_token(b"secret"),
    "require_protection": lambda machine: machine.require_protection(b"level"),
    "accept_protection": ClientNegotiation.accept_protection,
    "take_trailing": ClientNegotiation.take_trailing,
}

# What is allowed, and the stage afterwards. Everything else raises.
ALLOWED = {
    (Stage.TOKEN, "send_token"): Stage.CONTEXT,
    (Stage.TOKEN, "require_protection"): Stage.PROTECTION,
    (Stage.CHOICE, "accept_protection"): Stage.COMMAND,
    (RELAY, "take_trailing"): RELAY,
}


def client_at(stage: Stage) -> ClientNegotiation:
    """A client at a stage, by the shortest way; nothing waits, nothing is to be sent."""
    way = WAYS[stage]
    machine = way.machine()
    use(machine, [octets(way.server)], False, answered=way.answered)
    assert machine.stage is stage
    return machine


every_stage = pytest.mark.parametrize("stage", CLIENT_NEXT, ids=said.stage_names)


@pytest.mark.parametrize("call", CALLS)
@every_stage
def test_every_call_at_every_stage(stage: Stage, call: str) -> None:
    said.check_call(client_at(stage), CALLS[call], ALLOWED.get((stage, call)))


@every_stage
def test_the_servers_end_at_every_stage(stage: Stage) -> None:
    """An error while something is awaited, and it says what; afterwards nothing at all."""
    machine = client_at(stage)
    event = machine.receive_end()
    if stage in (RELAY, OVER):
        assert event is None
        assert machine.stage is stage
    else:
        assert event is not None
        assert isinstance(event.error, RemoteProtocolError)
        assert stage.value in str(event.error)
        assert machine.stage is OVER
    assert machine.take_output() == b""
    assert machine.receive_end() is None


def test_octets_behind_the_last_message_are_kept_once() -> None:
    said.check_trailing(client_at(RELAY))
    said.check_copies(client_at(RELAY))
    said.check_closed(client_at(OVER))


def test_a_long_message_is_looked_at_when_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, token = client_at(Stage.CONTEXT), bytes(MAX_TOKEN)
    looks = said.count_looks(monkeypatch)
    message = octets("01 01 ffff") + token
    events = [event for piece in (message[:4], *said.octet_by_octet(message[4:]))
              for event in machine.receive(piece)]  # fmt: skip
    assert events == [TokenReceived(token)]
    assert looks == [4, len(message)]


# ---------------------------------------------------------------- properties

from_servers = said.conversations(
    *("05 00", "05 02", "05 02 01 00", "01 00", f"05 01 {DONE} {LEVEL}", DONE, LEVEL, "01 ff"),
    *("05 ff", OK, f"05 00 00 {said.NAMED_OCTETS}", said.CAME, refused(5), "05 ff 00 07"),
)


@given(from_servers, said.cut_positions, st.sampled_from([*FLOWS.values()]))
@settings(max_examples=400)
def test_cuts_never_change_what_a_client_does(data: bytes, cuts: list[int], how: Flow) -> None:
    """And whatever comes, nothing is raised."""
    whole, other, slow = (
        use(how.machine(), pieces, how.ends) for pieces, _ in said.three_ways(data, cuts, False)
    )
    assert whole == other == slow
    assert whole.details == other.details == slow.details
