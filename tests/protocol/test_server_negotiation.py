"""The server's half: whole conversations in octets written out by hand after RFC 1928, with the method's
sub-negotiation in its place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.errors import (
    AuthenticationFailed,
    GeneralFailure,
    LocalProtocolError,
    NoAcceptableMethod,
    NotSOCKS5,
    RemoteProtocolError,
)
from socks5.protocol.gssapi_negotiation import GSSAPISubnegotiation
from socks5.protocol.messages import HTTP_ANSWER, Request
from socks5.protocol.password_negotiation import CredentialsReceived, PasswordSubnegotiation
from socks5.protocol.server_negotiation import CommandRequested, ServerNegotiation
from socks5.protocol.stages import SERVER_NEXT, ProtectionReceived, Rejected, Stage, TokenReceived
from socks5.protocol.subnegotiation import NO_AUTHENTICATION, Methods
from tests.support import negotiations as said
from tests.support.negotiations import (
    ASK,
    BIND,
    BOUND,
    HELLO,
    NAMED,
    OK,
    PEER,
    USER_OCTETS,
    Cut,
    octets,
    refused,
)

PASSWORD: Methods = {2: PasswordSubnegotiation}
GSSAPI: Methods = {1: GSSAPISubnegotiation}
PASSWORD_OR_NONE: Methods = {2: PasswordSubnegotiation, 0: None}
NONE_OR_PASSWORD: Methods = {0: None, 2: PasswordSubnegotiation}
ALL: Methods = {**GSSAPI, **PASSWORD_OR_NONE}

OVER, RELAY, WITHIN = Stage.CLOSED, Stage.ESTABLISHED, Stage.SUBNEGOTIATION


@dataclass(frozen=True)
class Caller:
    """Answers a server's events: a login is *accepted* or not, a request has these *replies*."""

    accepted: bool = True
    replies: Sequence[tuple[int, Address]] = ((0, BOUND),)

    def __call__(self, machine: ServerNegotiation, event: Any) -> Iterator[bytes]:
        within: Any = machine.subnegotiation
        if isinstance(event, CommandRequested):
            for code, address in self.replies:
                if machine.stage in (Stage.COMMAND, Stage.SECOND_REPLY):
                    machine.reply(code, address)
                    yield b""
        elif not self.accepted:
            within.reject()
            error = AuthenticationFailed("not accepted")
            assert machine.reject(error) == Rejected(error)
            yield b""
        elif isinstance(event, TokenReceived):
            within.complete_context(b"done")
            yield b""
        else:
            if isinstance(event, ProtectionReceived):
                within.agree(b"ok")
            within.accept()
            yield machine.logged_in()


@dataclass(frozen=True)
class Flow:
    """A client's octets, the caller's answers, and what must come of them."""

    client: str
    events: Sequence[object]
    output: str
    stage: Stage = OVER
    trailing: bytes = b""
    methods: Methods = field(default_factory=lambda: NO_AUTHENTICATION)
    caller: Caller = Caller()

    def run(self, cut: Cut, is_late: bool = False) -> said.Outcome:
        machine = ServerNegotiation(self.methods)
        return said.converse(machine, cut(octets(self.client)), self.caller, is_late)


def asked(command: int, address: Address = said.TARGET) -> CommandRequested:
    return CommandRequested(Request(command, address))


def replies(*each: tuple[int, Address]) -> Caller:
    return Caller(replies=each)


WRONG, NONE, OTHER = [RemoteProtocolError], [NoAcceptableMethod], [NotSOCKS5]
SAID = CredentialsReceived(said.USER)

# fmt: off
FLOWS = {
    "nothing at all": Flow("", [], "", Stage.GREETING),
    "to a name, answered with IPv6": Flow(
        f"05 01 00 05 01 00 {said.NAMED_OCTETS}", [asked(1, NAMED)], f"05 00 {said.CAME}", RELAY,
        caller=replies((0, PEER)),
    ),
    "what looks like a message there": Flow(f"05 01 00 {ASK} 05 01 00", [asked(1)], f"05 00 {OK}", RELAY, b"\5\1\0"),
    "a failure carries no address": Flow(
        f"05 01 00 {ASK}", [asked(1)], f"05 00 {refused(5)}", caller=replies((5, PEER)),
    ),
    "the longest messages": Flow(
        f"05 ff {'02' * 255} {USER_OCTETS} 05 01 00 03 ff {'63' * 255} ffff",
        [SAID, asked(1, Address(b"c" * 255, 65535))],
        f"05 02 01 00 05 00 00 03 ff {'64' * 255} 0001", RELAY, b"", PASSWORD, replies((0, Address(b"d" * 255, 1))),
    ),

    "with a password": Flow(
        f"05 02 00 02 {USER_OCTETS} {ASK} {HELLO}", [SAID, asked(1)], f"05 02 01 00 {OK}", RELAY, b"hello", PASSWORD,
    ),
    "with GSSAPI": Flow(
        f"05 02 00 01 {said.TOKEN} {said.LEVEL} {ASK} {HELLO}",
        [TokenReceived(b"secret"), ProtectionReceived(b"level"), asked(1)],
        f"05 01 {said.DONE} {said.AGREED} {OK}", RELAY, b"hello", GSSAPI,
    ),
    "a wrong password": Flow(
        f"05 01 02 {USER_OCTETS} {ASK} {HELLO}", [SAID], "05 02 01 01", OVER, b"", PASSWORD, Caller(accepted=False),
    ),
    "a request where credentials are due": Flow(f"05 02 00 02 {ASK}", WRONG, "05 02", methods=PASSWORD),
    "a bad request behind credentials": Flow(
        f"05 01 02 {USER_OCTETS} 05 01 00 07", [SAID, RemoteProtocolError], f"05 02 01 00 {refused(8)}",
        methods=PASSWORD,
    ),
    "the server prefers a password": Flow("05 02 00 02", [], "05 02", WITHIN, methods=PASSWORD_OR_NONE),
    "the server prefers none": Flow("05 02 02 00", [], "05 00", Stage.REQUEST, methods=NONE_OR_PASSWORD),
    "the second preference": Flow("05 03 01 80 02", [], "05 02", WITHIN, methods=NONE_OR_PASSWORD),
    "no acceptable method, the rest glued": Flow(f"05 01 02 {USER_OCTETS} {ASK}", NONE, "05 ff"),
    "no method offered": Flow("05 00", NONE, "05 ff"),
    "the method that means none": Flow("05 01 ff", NONE, "05 ff"),

    "BIND": Flow(
        f"05 01 00 {BIND} {HELLO}", [asked(2)], f"05 00 {OK} {said.CAME}", RELAY, b"hello",
        caller=replies((0, BOUND), (0, PEER)),
    ),
    "nobody came": Flow(
        f"05 01 00 {BIND} {HELLO}", [asked(2)], f"05 00 {OK} {refused(6)}", caller=replies((0, BOUND), (6, PEER)),
    ),
    "still listening": Flow(f"05 01 00 {BIND} {HELLO}", [asked(2)], f"05 00 {OK}", Stage.SECOND_REPLY),
    "UDP ASSOCIATE": Flow(f"05 01 00 05 03 00 {said.NOWHERE_OCTETS}", [asked(3, UNSPECIFIED)], f"05 00 {OK}", RELAY),
    "an unknown command is the caller's to refuse": Flow(
        f"05 01 00 05 f0 00 {said.NAMED_OCTETS} {HELLO}", [asked(0xF0, NAMED)], f"05 00 {refused(7)}",
        caller=replies((7, UNSPECIFIED)),
    ),
    "or to serve, with one reply": Flow(
        f"05 01 00 05 80 00 {said.TARGET_OCTETS}", [asked(0x80)], f"05 00 {OK}", RELAY,
    ),

    "an unknown address type": Flow("05 01 00 05 01 00 02 c0000201 0050", WRONG, f"05 00 {refused(8)}"),
    "a request of another version": Flow(f"05 01 00 04 01 00 {said.TARGET_OCTETS}", WRONG, f"05 00 {refused(1)}"),
    "SOCKS4": Flow("04 01 0050 c0000201 00", OTHER, ""),
    "TLS ClientHello": Flow("16 0301 0200 01 0001fc 0303", OTHER, ""),
    "HTTP CONNECT": Flow(b"CONNECT example.org:443 HTTP/1.1\r\n\r\n".hex(), OTHER, HTTP_ANSWER.hex()),
    **{f"HTTP's letters, {each}": Flow(each, OTHER, HTTP_ANSWER.hex()) for each in ("41", "5a")},
    **{f"none of them, {each}": Flow(each, OTHER, "") for each in ("40", "5b", "67")},
    "the greeting is not whole": Flow("05 02 00", [], "", Stage.GREETING),
    "the request is not whole": Flow("05 01 00 05 01 00 01 c0000201 00", [], "05 00", Stage.REQUEST),
}
# fmt: on


@said.every_flow(FLOWS)
def test_a_flow(flow: Flow, cut: Cut, is_late: bool) -> None:
    said.check(flow.run(cut, is_late), flow)


def test_the_flows_walk_every_way_of_the_table() -> None:
    """And no other way; octet by octet, so that each step is seen."""
    steps = [flow.run(said.octet_by_octet).steps for flow in FLOWS.values()]
    assert set().union(*steps) == said.edges(SERVER_NEXT)


# ---------------------------------------------------------------- the method


def test_the_chosen_method_is_known_and_its_sub_negotiation_while_it_lasts() -> None:
    refusal: Any = ServerNegotiation(PASSWORD).receive(octets("05 02 00 80"))
    assert (refusal.error.offered, refusal.error.accepted) == ((0, 0x80), (2,))
    server: Any = ServerNegotiation(ALL)
    assert server.method is None
    server.receive(octets("05 02 00 02"))
    assert (server.method, server.is_gathering) == (2, False)
    assert isinstance(server.subnegotiation, PasswordSubnegotiation)
    server.receive(octets(USER_OCTETS))
    server.subnegotiation.accept()
    assert server.logged_in() == b""
    assert (server.method, server.subnegotiation) == (2, None)
    assert server.take_output() == octets("05 02 01 00")


@pytest.mark.parametrize("methods", [{2: None}, {0x80: None}, {255: PasswordSubnegotiation}])
def test_no_method_is_chosen_that_cannot_be_carried_out(methods: Methods) -> None:
    """Otherwise a request would follow such a method without any sub-negotiation."""
    server = ServerNegotiation(methods)
    with pytest.raises(LocalProtocolError, match="cannot be carried out"):
        server.receive(b"\5\1" + bytes(methods))
    assert (server.stage, server.take_output()) == (Stage.GREETING, b"")


def test_the_methods_may_be_others_until_the_greeting_is_complete() -> None:
    server = ServerNegotiation(PASSWORD)
    server.receive(b"\5")
    server.methods = NONE_OR_PASSWORD
    server.receive(b"\2\2\0")
    assert server.take_output() == b"\5\0"
    with pytest.raises(LocalProtocolError, match="the method is chosen already at REQUEST"):
        server.methods = PASSWORD
    assert server.methods is NONE_OR_PASSWORD


class Impatient(PasswordSubnegotiation):
    """Another's: it says by an exception that something is wrong, and has a last word all the same."""

    last_word = b""

    def receive(self, data: bytes) -> object | None:
        if not data:
            return None
        self.last_word = b"no"
        raise RemoteProtocolError("I will not")

    def take_output(self) -> bytes:
        return self.last_word


def test_a_sub_negotiation_may_end_by_an_exception() -> None:
    server = ServerNegotiation({0x80: Impatient})
    assert server.receive(octets("05 01 80")) is None
    assert isinstance(server.receive(b"please"), Rejected)
    assert (server.stage, server.take_output()) == (OVER, b"\5\x80no")


# ---------------------------------------------------------------- every call at every stage

WAYS = {
    Stage.GREETING: "05 02",
    WITHIN: "05 01 02 01 04",
    Stage.REQUEST: "05 01 00 05 01",
    Stage.COMMAND: f"05 01 00 {ASK} 05 01",
    Stage.SECOND_REPLY: f"05 01 00 {BIND} 05 01",
    RELAY: f"05 01 00 {ASK}",
    OVER: f"05 01 00 {ASK}",
}
"""How a stage is reached, with a part of what may come there."""

CALLS = {
    "logged_in": lambda machine: machine.logged_in(),
    "reject": lambda machine: machine.reject(GeneralFailure()),
    "success": lambda machine: machine.reply(0, BOUND),
    "failure": lambda machine: machine.reply(1, BOUND),
    "no address": lambda machine: machine.reply(0, Address("example.org", 80)),
    "no code": lambda machine: machine.reply(256),
    "take_trailing": lambda machine: machine.take_trailing(),
}

# What is allowed, and the stage afterwards. Everything else raises.
ALLOWED = {
    (WITHIN, "reject"): OVER,
    (Stage.COMMAND, "success"): RELAY,
    (Stage.COMMAND, "failure"): OVER,
    (Stage.SECOND_REPLY, "success"): RELAY,
    (Stage.SECOND_REPLY, "failure"): OVER,
    (RELAY, "take_trailing"): RELAY,
}


def server_at(stage: Stage) -> ServerNegotiation:
    """A server at a stage; nothing is to be sent."""
    machine = ServerNegotiation(PASSWORD_OR_NONE)
    machine.receive(octets(WAYS[stage]))
    if stage in (Stage.SECOND_REPLY, RELAY, OVER):
        machine.reply(1 if stage is OVER else 0, BOUND)
    machine.take_output()
    assert machine.stage is stage
    return machine


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("stage", SERVER_NEXT, ids=said.stage_names)
def test_every_call_at_every_stage(stage: Stage, call: str) -> None:
    said.check_call(server_at(stage), CALLS[call], ALLOWED.get((stage, call)))


def test_octets_that_nobody_awaits_gather_and_are_kept_once() -> None:
    for stage in (Stage.COMMAND, Stage.SECOND_REPLY, RELAY):
        said.check_copies(server_at(stage))
    said.check_trailing(server_at(RELAY))
    said.check_closed(server_at(OVER))


# ---------------------------------------------------------------- properties

from_clients = said.conversations(
    *("05 01 00", "05 02 00 02", f"05 01 01 {said.TOKEN}", USER_OCTETS, said.TOKEN, said.LEVEL),
    *("01 ff", ASK, f"05 02 00 {said.NAMED_OCTETS}", f"05 03 00 {said.PEER_OCTETS}"),
    *("05 01 00 03 01 00 0050", "05 01 00 05", f"05 01 02 {USER_OCTETS}"),
)


@given(
    from_clients,
    said.cut_positions,
    st.sampled_from([*FLOWS.values()]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=400)
def test_cuts_never_change_what_a_server_does(
    data: bytes, cuts: list[int], how: Flow, accepted: bool, is_late: bool
) -> None:
    """Nor does the moment of the answers; and whatever comes, nothing is raised. Where a password or a context is
    required and not accepted, no request is ever understood.
    """
    caller = replace(how.caller, accepted=accepted)
    whole, other, slow = (
        said.converse(ServerNegotiation(how.methods), pieces, caller, late)
        for pieces, late in said.three_ways(data, cuts, is_late)
    )
    assert whole == other == slow
    assert whole.details == other.details == slow.details
    if not accepted and 0 not in how.methods:
        assert not any(isinstance(event, CommandRequested) for event in whole.events)
        assert whole.stage in (Stage.GREETING, WITHIN, OVER)
