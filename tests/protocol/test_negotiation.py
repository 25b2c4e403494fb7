"""Both machines: whole conversations in octets written out by hand after RFC 1928 and RFC 1929.

A flow is a conversation with everything the peer sends in one piece of hexadecimal; each runs glued, octet by
octet and in odd cuts, and the caller answers at once or as late as it can. Nothing of this may change the outcome.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socks5.protocol import server_negotiation
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.client_negotiation import ClientNegotiation, ReplyReceived
from socks5.protocol.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    GeneralFailure,
    LocalProtocolError,
    NoAcceptableMethod,
    NoAcceptableProtection,
    NotSOCKS5,
    RemoteProtocolError,
    ReplyError,
    SOCKSError,
)
from socks5.protocol.gssapi import MAX_TOKEN, MAX_TOKENS, Message, MessageType
from socks5.protocol.messages import Credentials, Greeting, Method, Reply, Request
from socks5.protocol.server_negotiation import (
    HTTP_ANSWER,
    CommandRequested,
    CredentialsReceived,
    ServerNegotiation,
)
from socks5.protocol.stages import (
    CLIENT_NEXT,
    SERVER_NEXT,
    ProtectionReceived,
    Rejected,
    Stage,
    TokenReceived,
)

octets = bytes.fromhex

TARGET = Address("192.0.2.1", 80)
TARGET_OCTETS = "01 c0000201 0050"
BOUND = Address("203.0.113.5", 8080)
BOUND_OCTETS = "01 cb007105 1f90"
PEER = Address("2001:db8::1", 443)
PEER_OCTETS = "04 20010db8 00000000 00000000 00000001 01bb"
NAMED = Address(b"example.org", 80)
NAMED_OCTETS = "03 0b 6578616d706c652e6f7267 0050"
NOWHERE_OCTETS = "01 00000000 0000"

ASK = f"05 01 00 {TARGET_OCTETS}"
BIND = f"05 02 00 {TARGET_OCTETS}"
OK = f"05 00 00 {BOUND_OCTETS}"
CAME = f"05 00 00 {PEER_OCTETS}"

USER = Credentials(b"user", b"secret")
USER_OCTETS = "01 04 75736572 06 736563726574"

NONE, PASSWORD, GSSAPI = (0x00,), (0x02,), (0x01,)

# Tokens are opaque to the machines, so that anything will do.
TOKEN, MORE, DONE, LEVEL, BARE = (
    "01 01 0006 7365637265 74",
    "01 01 0004 6d6f7265",
    "01 01 0004 646f6e65",
    "01 02 0005 6c6576656c",
    "01 02 0001 00",
)


def refused(code: int) -> str:
    """A failure reply, which carries no address."""
    return f"05 {code:02x} 00 {NOWHERE_OCTETS}"


# ---------------------------------------------------------------- how octets come in pieces


def glued(data: bytes) -> list[bytes]:
    return [data]


def octet_by_octet(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def first_octet_alone(data: bytes) -> list[bytes]:
    """A first segment shorter than any header."""
    return [data[:1], data[1:]]


def by_sevens(data: bytes) -> list[bytes]:
    return [data[at : at + 7] for at in range(0, len(data), 7)]


def with_empty_pieces(data: bytes) -> list[bytes]:
    return [b"", *(piece for octet in octet_by_octet(data) for piece in (octet, b""))]


Cut = Callable[[bytes], list[bytes]]
CUTS = [glued, octet_by_octet, first_octet_alone, by_sevens, with_empty_pieces]


@pytest.fixture(params=CUTS, ids=lambda cut: cut.__name__)
def cut(request: pytest.FixtureRequest) -> Cut:
    return request.param


@dataclass
class Outcome:
    """All that a caller sees of a conversation. A refusal stands as the type of its error."""

    events: list[object]
    output: bytes
    stage: Stage
    trailing: bytes
    errors: list[SOCKSError] = field(default_factory=list, compare=False)
    stages: list[Stage] = field(default_factory=list, compare=False)

    @property
    def details(self) -> object:
        """What comparing alone leaves out: the texts and the numbers of the errors."""
        numbers = [(getattr(e, "code", None), getattr(e, "reply", None)) for e in self.errors]
        return self.events, [str(error) for error in self.errors], numbers


def outcome_of(
    machine: ServerNegotiation | ClientNegotiation,
    events: Iterable[object],
    output: bytes,
    stages: list[Stage],
) -> Outcome:
    seen = list(events)
    errors = [event.error for event in seen if isinstance(event, Rejected)]
    kinds = [type(event.error) if isinstance(event, Rejected) else event for event in seen]
    trailing = machine.take_trailing() if machine.stage is Stage.ESTABLISHED else b""
    return Outcome(kinds, output, machine.stage, trailing, errors, stages)


def stage_names(value: object) -> str | None:
    return value.name if isinstance(value, Stage) else None


# ================================================================ the server


@dataclass(frozen=True)
class ServerFlow:
    """A client's octets, the caller's answers, and what must come of them. The methods are the one that is chosen,
    unless it says others.
    """

    client: str
    events: Sequence[object]
    output: str
    stage: Stage
    trailing: bytes = b""
    methods: Sequence[int] = ()
    accepted: bool = True
    replies: Sequence[tuple[int, Address]] = ((0, BOUND),)
    legs: int = 1
    level: bool = True


def serve(
    machine: ServerNegotiation,
    pieces: Iterable[bytes],
    *,
    accepted: bool,
    replies: Sequence[tuple[int, Address]],
    late: bool = False,
    legs: int = 1,
    level: bool = True,
) -> Outcome:
    """Be the caller of a server: answer each event at once, or only when all octets are in. A context is complete
    after so many *legs*; *level* says whether the client's level of protection will do: none.
    """
    events: list[object] = []
    output: list[bytes] = []
    stages = [machine.stage]

    def note(event: object) -> None:
        if event is not None:
            events.append(event)
        output.append(machine.take_output())
        stages.append(machine.stage)

    def answer() -> None:
        while machine.stage in (Stage.CHECKING, Stage.CHOICE):
            if machine.stage is Stage.CHOICE:
                choose()
            elif 0 < sum(isinstance(event, TokenReceived) for event in events) < legs:
                note(machine.continue_context(b"more"))
            else:
                judge()
        if machine.stage is Stage.COMMAND:
            for code, address in replies:
                machine.reply(code, address)
                note(None)

    def judge() -> None:
        if accepted and any(isinstance(event, TokenReceived) for event in events):
            machine.complete_context(b"done")
        note(machine.accept_credentials() if accepted else machine.reject_credentials())

    def choose() -> None:
        if not level:
            note(machine.reject_protection(NoAcceptableProtection(0, (1,))))
            return
        waiting = machine.accept_protection(b"ok")
        note(None)
        note(machine.receive(waiting))

    for piece in pieces:
        note(machine.receive(piece))
        if not late:
            answer()
    answer()
    return outcome_of(machine, events, b"".join(output), stages)


def run_server(flow: ServerFlow, cut: Cut, *, late: bool = False) -> Outcome:
    chosen = octets(flow.output)[:2]
    methods = flow.methods or (chosen[1:] if chosen in (b"\5\1", b"\5\2") else NONE)
    machine = ServerNegotiation(methods)
    pieces = cut(octets(flow.client))
    how = {"legs": flow.legs, "level": flow.level, "late": late}
    return serve(machine, pieces, accepted=flow.accepted, replies=flow.replies, **how)


def asked(command: int, address: Address = TARGET) -> CommandRequested:
    return CommandRequested(Request(command, address))


HELLO = "68656c6c6f"
OVER = Stage.CLOSED
RELAY = Stage.ESTABLISHED

SERVER_FLOWS = {
    "nothing at all": ServerFlow("", [], "", Stage.GREETING),
    "CONNECT to a name, answered with IPv6": ServerFlow(
        f"05 01 00  05 01 00 {NAMED_OCTETS}",
        [asked(1, NAMED)],
        f"05 00  {CAME}",
        RELAY,
        replies=[(0, PEER)],
    ),
    "CONNECT, octets glued behind it": ServerFlow(
        f"05 01 00  {ASK} {HELLO}", [asked(1)], f"05 00  {OK}", RELAY, b"hello"
    ),
    "what looks like a message behind it is relayed": ServerFlow(
        f"05 01 00  {ASK} 05 01 00", [asked(1)], f"05 00  {OK}", RELAY, b"\x05\x01\x00"
    ),
    "CONNECT with a password": ServerFlow(
        f"05 02 00 02  {USER_OCTETS}  {ASK} {HELLO}",
        [CredentialsReceived(USER), asked(1)],
        f"05 02  01 00  {OK}",
        RELAY,
        b"hello",
    ),
    "a wrong password": ServerFlow(
        f"05 01 02  {USER_OCTETS}  {ASK} {HELLO}",
        [CredentialsReceived(USER), AuthenticationFailed],
        "05 02  01 01",
        OVER,
        accepted=False,
    ),
    "credentials of another version": ServerFlow(
        "05 01 02  05 04 75736572 06 736563726574", [RemoteProtocolError], "05 02", OVER
    ),
    "a request where credentials are due": ServerFlow(
        f"05 02 00 02  {ASK}", [RemoteProtocolError], "05 02", OVER
    ),
    "the server prefers a password": ServerFlow(
        "05 02 00 02", [], "05 02", Stage.CREDENTIALS, methods=(2, 0)
    ),
    "the server prefers none": ServerFlow(
        "05 02 02 00", [], "05 00", Stage.REQUEST, methods=(0, 2)
    ),
    "the second preference": ServerFlow(
        "05 03 01 80 02", [], "05 02", Stage.CREDENTIALS, methods=(0, 2)
    ),
    "255 methods, the last one fits": ServerFlow(
        "05 ff" + "07" * 254 + "00", [], "05 00", Stage.REQUEST
    ),
    "no acceptable method": ServerFlow(
        "05 01 00", [NoAcceptableMethod], "05 ff", OVER, methods=PASSWORD
    ),
    "no acceptable method, the rest glued": ServerFlow(
        f"05 01 02  {USER_OCTETS}  {ASK}", [NoAcceptableMethod], "05 ff", OVER
    ),
    "no method offered": ServerFlow("05 00", [NoAcceptableMethod], "05 ff", OVER),
    "the method that means none": ServerFlow("05 01 ff", [NoAcceptableMethod], "05 ff", OVER),
    "GSSAPI": ServerFlow(
        f"05 02 00 01  {TOKEN}  {LEVEL}  {ASK} {HELLO}",
        [TokenReceived(b"secret"), ProtectionReceived(b"level"), asked(1)],
        f"05 01  {DONE}  01 02 0002 6f6b  {OK}",
        RELAY,
        b"hello",
    ),
    "GSSAPI, several tokens, a bare level": ServerFlow(
        f"05 01 01  {TOKEN} 01 01 0000 {TOKEN}  {BARE}  {ASK}",
        [
            TokenReceived(b"secret"),
            TokenReceived(b""),
            TokenReceived(b"secret"),
            ProtectionReceived(b"\0"),
            asked(1),
        ],
        f"05 01  {MORE} {MORE} {DONE}  01 02 0002 6f6b  {OK}",
        RELAY,
        legs=3,
    ),
    "GSSAPI, a context that is not accepted": ServerFlow(
        f"05 01 01  {TOKEN}  {LEVEL}",
        [TokenReceived(b"secret"), AuthenticationFailed],
        "05 01  01 ff",
        OVER,
        accepted=False,
    ),
    "GSSAPI, a level that will not do": ServerFlow(
        f"05 01 01  {TOKEN}  {LEVEL}  {ASK}",
        [TokenReceived(b"secret"), ProtectionReceived(b"level"), NoAcceptableProtection],
        f"05 01  {DONE}  01 ff",
        OVER,
        level=False,
    ),
    "GSSAPI, the client gives up": ServerFlow(
        "05 01 01  01 ff", [AuthenticationFailed], "05 01", OVER
    ),
    "GSSAPI, the client gives up the level": ServerFlow(
        f"05 01 01  {TOKEN}  01 ff",
        [TokenReceived(b"secret"), AuthenticationFailed],
        f"05 01  {DONE}",
        OVER,
    ),
    "GSSAPI, a token of another version": ServerFlow(
        f"05 01 01  {ASK}", [RemoteProtocolError], "05 01  01 ff", OVER
    ),
    "GSSAPI, a level where a token is due": ServerFlow(
        f"05 01 01  {LEVEL}", [RemoteProtocolError], "05 01  01 ff", OVER
    ),
    "GSSAPI, a request where a level is due": ServerFlow(
        f"05 01 01  {TOKEN}  {ASK}",
        [TokenReceived(b"secret"), RemoteProtocolError],
        f"05 01  {DONE}  01 ff",
        OVER,
    ),
    "GSSAPI, endless tokens": ServerFlow(
        f"05 01 01  {'01 01 0000' * (MAX_TOKENS + 1)}  {LEVEL}",
        [*[TokenReceived(b"")] * MAX_TOKENS, RemoteProtocolError],
        f"05 01  {MORE * MAX_TOKENS}  01 ff",
        OVER,
        legs=MAX_TOKENS + 2,
    ),
    "GSSAPI, the token is not whole": ServerFlow(
        "05 01 01  01 01 ffff 0000", [], "05 01", Stage.CONTEXT
    ),
    "GSSAPI, the level is not whole": ServerFlow(
        f"05 01 01  {TOKEN}  01 02 00",
        [TokenReceived(b"secret")],
        f"05 01  {DONE}",
        Stage.PROTECTION,
    ),
    "BIND": ServerFlow(
        f"05 01 00  {BIND} {HELLO}",
        [asked(2)],
        f"05 00  {OK}  {CAME}",
        RELAY,
        b"hello",
        replies=[(0, BOUND), (0, PEER)],
    ),
    "BIND refused": ServerFlow(
        f"05 01 00  {BIND} {HELLO}", [asked(2)], f"05 00  {refused(2)}", OVER, replies=[(2, BOUND)]
    ),
    "BIND, nobody came": ServerFlow(
        f"05 01 00  {BIND} {HELLO}",
        [asked(2)],
        f"05 00  {OK}  {refused(6)}",
        OVER,
        replies=[(0, BOUND), (6, PEER)],
    ),
    "BIND, still listening": ServerFlow(
        f"05 01 00  {BIND} {HELLO}", [asked(2)], f"05 00  {OK}", Stage.SECOND_REPLY
    ),
    "UDP ASSOCIATE": ServerFlow(
        f"05 01 00  05 03 00 {NOWHERE_OCTETS}", [asked(3, UNSPECIFIED)], f"05 00  {OK}", RELAY
    ),
    "an unknown command is the caller's to refuse": ServerFlow(
        f"05 01 00  05 f0 00 {NAMED_OCTETS} {HELLO}",
        [asked(0xF0, NAMED)],
        f"05 00  {refused(7)}",
        OVER,
        replies=[(7, UNSPECIFIED)],
    ),
    "a failure carries no address": ServerFlow(
        f"05 01 00  {ASK}", [asked(1)], f"05 00  {refused(5)}", OVER, replies=[(5, PEER)]
    ),
    "an unknown address type": ServerFlow(
        "05 01 00  05 01 00 02 c0000201 0050", [RemoteProtocolError], f"05 00  {refused(8)}", OVER
    ),
    "a zero octet in a name": ServerFlow(
        "05 01 00  05 01 00 03 03 610062 0050", [RemoteProtocolError], f"05 00  {refused(1)}", OVER
    ),
    "a request of another version": ServerFlow(
        f"05 01 00  04 01 00 {TARGET_OCTETS}", [RemoteProtocolError], f"05 00  {refused(1)}", OVER
    ),
    "a bad request behind credentials": ServerFlow(
        f"05 01 02  {USER_OCTETS}  05 01 00 07",
        [CredentialsReceived(USER), RemoteProtocolError],
        f"05 02  01 00  {refused(8)}",
        OVER,
    ),
    "SOCKS4": ServerFlow("04 01 0050 c0000201 00", [NotSOCKS5], "", OVER),
    "TLS ClientHello": ServerFlow("16 0301 0200 01 0001fc 0303", [NotSOCKS5], "", OVER),
    "HTTP CONNECT": ServerFlow(
        b"CONNECT example.org:443 HTTP/1.1\r\n\r\n".hex(), [NotSOCKS5], HTTP_ANSWER.hex(), OVER
    ),
    "HTTP GET": ServerFlow(b"GET / HTTP/1.0\r\n".hex(), [NotSOCKS5], HTTP_ANSWER.hex(), OVER),
    "HTTP's letters begin with A": ServerFlow("41", [NotSOCKS5], HTTP_ANSWER.hex(), OVER),
    "HTTP's letters end with Z": ServerFlow("5a", [NotSOCKS5], HTTP_ANSWER.hex(), OVER),
    "the octet before A": ServerFlow("40", [NotSOCKS5], "", OVER),
    "the octet behind Z": ServerFlow("5b", [NotSOCKS5], "", OVER),
    "a small letter": ServerFlow("67", [NotSOCKS5], "", OVER),
    "HTTP where credentials are due": ServerFlow(
        "05 01 02 47 45 54", [RemoteProtocolError], "05 02", OVER
    ),
    "the greeting is not whole": ServerFlow("05 02 00", [], "", Stage.GREETING),
    "the credentials are not whole": ServerFlow(
        "05 01 02  01 04 75736572 06 7365637265", [], "05 02", Stage.CREDENTIALS
    ),
    "the request is not whole": ServerFlow(
        "05 01 00  05 01 00 01 c0000201 00", [], "05 00", Stage.REQUEST
    ),
}


@pytest.mark.parametrize("late", [False, True], ids=["answered at once", "answered late"])
@pytest.mark.parametrize("flow", SERVER_FLOWS.values(), ids=SERVER_FLOWS)
def test_server_flow(flow: ServerFlow, cut: Cut, late: bool) -> None:
    expected = Outcome(list(flow.events), octets(flow.output), flow.stage, flow.trailing)
    assert run_server(flow, cut, late=late) == expected


def test_a_context_that_is_not_complete_is_not_accepted() -> None:
    machine = server_at(Stage.CONTEXT)
    machine.receive(octets(TOKEN))
    with pytest.raises(LocalProtocolError, match="the context is not complete"):
        machine.accept_credentials()
    machine.complete_context(b"")
    machine.accept_credentials()
    assert machine.take_output() == octets("01 01 0000")


def test_the_longest_token_is_taken_whole() -> None:
    """And while it is gathered, the machine says so: its caller must not stop reading."""
    machine = server_at(Stage.CONTEXT)
    token = bytes(MAX_TOKEN)
    assert machine.receive(octets("01 01 ffff") + token[1:]) is None
    assert machine.is_gathering
    assert machine.receive(token[:1]) == TokenReceived(token)
    assert not machine.is_gathering


def test_a_level_of_one_octet_has_no_token_around_it() -> None:
    assert ProtectionReceived(b"\0").is_bare
    assert not ProtectionReceived(b"level").is_bare


@pytest.mark.parametrize("stage", [Stage.CHECKING, Stage.CHOICE], ids=stage_names)
def test_an_answer_that_is_too_long_changes_nothing(stage: Stage) -> None:
    machine = server_at(Stage.CHOICE if stage is Stage.CHOICE else Stage.CONTEXT)
    machine.receive(octets(TOKEN if stage is Stage.CHECKING else ""))
    answer = machine.continue_context if stage is Stage.CHECKING else machine.accept_protection
    with pytest.raises(LocalProtocolError, match="65536 octets"):
        answer(bytes(65536))
    assert (machine.stage, machine.take_output()) == (stage, b"")


def test_the_answer_to_http_says_what_this_is() -> None:
    """A whole HTTP response, one readable line."""
    head, _, body = HTTP_ANSWER.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close" in head
    assert body.startswith(b"this is a SOCKS5 proxy")
    assert body.count(b"\n") == 1
    assert body.endswith(b"\n")


def test_no_acceptable_method_names_both_sides() -> None:
    event = ServerNegotiation((2,)).receive(octets("05 02 00 80"))
    assert isinstance(event, Rejected)
    assert isinstance(event.error, NoAcceptableMethod)
    assert (event.error.offered, event.error.accepted) == ((0, 0x80), (2,))


@pytest.mark.parametrize("method", [0x03, 0x80, 0xFF])
def test_the_server_takes_no_method_that_it_cannot_carry_out(method: int) -> None:
    """Otherwise a request would follow such a method without any sub-negotiation."""
    with pytest.raises(LocalProtocolError):
        ServerNegotiation((method,))


@pytest.mark.parametrize(
    ("code", "address"), [(0, Address("example.org", 80)), (-1, BOUND), (256, BOUND)]
)
def test_a_reply_that_cannot_be_sent_changes_nothing(code: int, address: Address) -> None:
    """The caller can still send another one."""
    machine = server_at(Stage.COMMAND)
    with pytest.raises(LocalProtocolError):
        machine.reply(code, address)
    assert (machine.stage, machine.take_output()) == (Stage.COMMAND, b"")
    machine.reply(1)
    assert machine.take_output() == octets(refused(1))


# ================================================================ the client


@dataclass(frozen=True)
class ClientFlow:
    """A server's octets, whether it then closes its side, and what must come of them. What the client has to log in
    with is what it offers in its output.
    """

    server: str
    events: Sequence[object]
    output: str
    stage: Stage
    trailing: bytes = b""
    command: int = 1
    code: int | None = None
    closes: bool = False
    legs: int = 1
    answered: int | None = None


def use(
    machine: ClientNegotiation,
    pieces: Iterable[bytes],
    *,
    closes: bool,
    legs: int = 1,
    answered: int | None = None,
) -> Outcome:
    """Be the caller of a client, whose context is complete after so many *legs*. The level will do: none. Only so many
    events are *answered*, if it is said.
    """
    events: list[object] = []
    output = [machine.take_output()]
    stages = [machine.stage]

    def note(new: Sequence[object]) -> None:
        events.extend(new)
        output.append(machine.take_output())
        stages.append(machine.stage)
        if len(events) - 1 == answered:
            return
        if machine.stage is Stage.TOKEN:
            is_complete = sum(isinstance(event, TokenReceived) for event in events) > legs
            note(
                machine.require_protection(b"level")
                if is_complete
                else machine.send_token(b"secret")
            )
        elif machine.stage is Stage.CHOICE:
            waiting = machine.accept_protection()
            note([])
            note(machine.receive(waiting))

    for piece in pieces:
        note(machine.receive(piece))
    if closes and (end := machine.receive_end()) is not None:
        events.append(end)
        output.append(machine.take_output())
        stages.append(machine.stage)
    return outcome_of(machine, events, b"".join(output), stages)


def run_client(flow: ClientFlow, cut: Cut) -> Outcome:
    greeting, _ = Greeting.decode(octets(flow.output)) or (Greeting(()), 0)
    machine = ClientNegotiation(
        Request(flow.command, TARGET),
        USER if Method.USERNAME_PASSWORD in greeting.methods else None,
        Method.GSSAPI in greeting.methods,
    )
    how = {"closes": flow.closes, "legs": flow.legs, "answered": flow.answered}
    return use(machine, cut(octets(flow.server)), **how)


def got(address: Address, code: int = 0) -> ReplyReceived:
    return ReplyReceived(Reply(code, address))


GREETED = "05 01 00"
ASKED = f"05 01 00  {ASK}"
BIND_ASKED = f"05 01 00  {BIND}"
OFFERED = "05 02 00 02"
LOGGED_IN = f"05 02 00 02  {USER_OCTETS}"
OFFERED_CONTEXT = "05 02 01 00"

CLIENT_FLOWS = {
    "nothing at all": ClientFlow("", [], GREETED, Stage.METHOD),
    "nothing at all, with a password to offer": ClientFlow("", [], OFFERED, Stage.METHOD),
    "CONNECT, octets glued behind the reply": ClientFlow(
        f"05 00  {OK} {HELLO}", [got(BOUND)], ASKED, RELAY, b"hello"
    ),
    "what looks like a reply behind the reply is relayed": ClientFlow(
        f"05 00  {OK} 05 01 00 03", [got(BOUND)], ASKED, RELAY, b"\5\1\0\3"
    ),
    "the end after the reply is the relay's": ClientFlow(
        f"05 00  {OK}", [got(BOUND)], ASKED, RELAY, closes=True
    ),
    "a name in BND.ADDR": ClientFlow(
        f"05 00  05 00 00 {NAMED_OCTETS} {HELLO}", [got(NAMED)], ASKED, RELAY, b"hello"
    ),
    "a password": ClientFlow(
        f"05 02  01 00  {OK} {HELLO}", [got(BOUND)], f"{LOGGED_IN}  {ASK}", RELAY, b"hello"
    ),
    "a password, its status with VER 5": ClientFlow(
        f"05 02  05 00  {OK}", [got(BOUND)], f"{LOGGED_IN}  {ASK}", RELAY
    ),
    "a password offered and not wanted": ClientFlow(
        f"05 00  {OK}", [got(BOUND)], f"{OFFERED}  {ASK}", RELAY
    ),
    "a wrong password": ClientFlow("05 02  01 01", [AuthenticationFailed], LOGGED_IN, OVER),
    "a wrong password, status 255 with VER 5": ClientFlow(
        "05 02  05 ff", [AuthenticationFailed], LOGGED_IN, OVER
    ),
    "a status of another version": ClientFlow(
        "05 02  02 00", [RemoteProtocolError], LOGGED_IN, OVER
    ),
    "GSSAPI": ClientFlow(
        f"05 01  {DONE}  {LEVEL}  {OK} {HELLO}",
        [TokenReceived(b""), TokenReceived(b"done"), ProtectionReceived(b"level"), got(BOUND)],
        f"{OFFERED_CONTEXT}  {TOKEN}  {LEVEL}  {ASK}",
        RELAY,
        b"hello",
    ),
    "GSSAPI, several tokens": ClientFlow(
        f"05 01  {MORE} 01 01 0000  {BARE}  {OK}",
        [
            TokenReceived(b""),
            TokenReceived(b"more"),
            TokenReceived(b""),
            ProtectionReceived(b"\0"),
            got(BOUND),
        ],
        f"05 03 01 00 02  {TOKEN} {TOKEN}  {LEVEL}  {ASK}",
        RELAY,
        legs=2,
    ),
    "GSSAPI, a context that is not accepted": ClientFlow(
        "05 01  01 ff",
        [TokenReceived(b""), AuthenticationFailed],
        f"{OFFERED_CONTEXT}  {TOKEN}",
        OVER,
    ),
    "GSSAPI, a level that will not do": ClientFlow(
        f"05 01  {DONE}  01 ff",
        [TokenReceived(b""), TokenReceived(b"done"), AuthenticationFailed],
        f"{OFFERED_CONTEXT}  {TOKEN}  {LEVEL}",
        OVER,
    ),
    "GSSAPI, a token of another version": ClientFlow(
        f"05 01  {OK}",
        [TokenReceived(b""), RemoteProtocolError],
        f"{OFFERED_CONTEXT}  {TOKEN}",
        OVER,
    ),
    "GSSAPI, a reply where a level is due": ClientFlow(
        f"05 01  {DONE}  {OK}",
        [TokenReceived(b""), TokenReceived(b"done"), RemoteProtocolError],
        f"{OFFERED_CONTEXT}  {TOKEN}  {LEVEL}",
        OVER,
    ),
    "GSSAPI, endless tokens": ClientFlow(
        f"05 01  {'01 01 0000' * (MAX_TOKENS + 1)}",
        [*[TokenReceived(b"")] * (MAX_TOKENS + 1), RemoteProtocolError],
        f"{OFFERED_CONTEXT}  {TOKEN * (MAX_TOKENS + 1)}",
        OVER,
        legs=MAX_TOKENS + 2,
    ),
    "GSSAPI, the end instead of a token": ClientFlow(
        "05 01  01 01 0004 64",
        [TokenReceived(b""), RemoteProtocolError],
        f"{OFFERED_CONTEXT}  {TOKEN}",
        OVER,
        closes=True,
    ),
    "GSSAPI, the end before our token": ClientFlow(
        "05 01",
        [TokenReceived(b""), RemoteProtocolError],
        OFFERED_CONTEXT,
        OVER,
        closes=True,
        answered=0,
    ),
    "GSSAPI, the end before our verdict on the level": ClientFlow(
        f"05 01  {DONE}  {LEVEL}",
        [
            TokenReceived(b""),
            TokenReceived(b"done"),
            ProtectionReceived(b"level"),
            RemoteProtocolError,
        ],
        f"{OFFERED_CONTEXT}  {TOKEN}  {LEVEL}",
        OVER,
        closes=True,
        answered=2,
    ),
    "no acceptable method": ClientFlow("05 ff", [NoAcceptableMethod], GREETED, OVER),
    "no acceptable method, the rest glued": ClientFlow(
        f"05 ff  {OK}", [NoAcceptableMethod], GREETED, OVER
    ),
    "a password wanted and not offered": ClientFlow(
        "05 02  01 00", [RemoteProtocolError], GREETED, OVER
    ),
    "GSSAPI was not offered": ClientFlow("05 01", [RemoteProtocolError], OFFERED, OVER),
    "not a SOCKS5 server": ClientFlow(
        b"HTTP/1.1 400 Bad Request\r\n\r\n".hex(), [RemoteProtocolError], GREETED, OVER
    ),
    "a reply of another version": ClientFlow(
        f"05 00  04 00 00 {BOUND_OCTETS}", [RemoteProtocolError], ASKED, OVER
    ),
    "success with an unknown address type": ClientFlow(
        "05 00  05 00 00 00 00000000 0000", [RemoteProtocolError], ASKED, OVER
    ),
    "refused": ClientFlow(f"05 00  {refused(5)} {HELLO}", [ConnectionRefused], ASKED, OVER),
    "unassigned REP 255": ClientFlow(f"05 00  {refused(255)}", [ReplyError], ASKED, OVER, code=255),
    "refused shortly, VER and REP": ClientFlow(
        "05 00  05 05", [ConnectionRefused], ASKED, OVER, closes=True
    ),
    "refused shortly, with RSV": ClientFlow(
        "05 00  05 05 00", [ConnectionRefused], ASKED, OVER, closes=True
    ),
    "refused shortly, one octet missing": ClientFlow(
        "05 00  05 05 00 01 00000000 00", [ConnectionRefused], ASKED, OVER, closes=True
    ),
    "refused shortly, unassigned": ClientFlow(
        "05 00  05 ff", [ReplyError], ASKED, OVER, code=255, closes=True
    ),
    "a short reply without an end is not whole": ClientFlow(
        "05 00  05 05", [], ASKED, Stage.COMMAND
    ),
    "success cut short": ClientFlow(
        "05 00  05 00 00 01 00000000 00", [RemoteProtocolError], ASKED, OVER, closes=True
    ),
    "the end behind VER": ClientFlow("05 00  05", [RemoteProtocolError], ASKED, OVER, closes=True),
    "the end instead of a reply": ClientFlow(
        "05 00", [RemoteProtocolError], ASKED, OVER, closes=True
    ),
    "the end instead of a method": ClientFlow(
        "", [RemoteProtocolError], GREETED, OVER, closes=True
    ),
    "the end in the middle of a method": ClientFlow(
        "05", [RemoteProtocolError], GREETED, OVER, closes=True
    ),
    "the end instead of a status": ClientFlow(
        "05 02  01", [RemoteProtocolError], LOGGED_IN, OVER, closes=True
    ),
    "the end after a refusal": ClientFlow(
        "05 ff", [NoAcceptableMethod], GREETED, OVER, closes=True
    ),
    "BIND": ClientFlow(
        f"05 00  {OK}  {CAME} {HELLO}",
        [got(BOUND), got(PEER)],
        BIND_ASKED,
        RELAY,
        b"hello",
        command=2,
    ),
    "BIND refused": ClientFlow(
        f"05 00  {refused(1)}", [GeneralFailure], BIND_ASKED, OVER, command=2
    ),
    "BIND, nobody came": ClientFlow(
        f"05 00  {OK}  {refused(5)}", [got(BOUND), ConnectionRefused], BIND_ASKED, OVER, command=2
    ),
    "BIND, nobody came, said shortly": ClientFlow(
        f"05 00  {OK}  05 05",
        [got(BOUND), ConnectionRefused],
        BIND_ASKED,
        OVER,
        command=2,
        closes=True,
    ),
    "BIND, the end instead of a peer": ClientFlow(
        f"05 00  {OK}", [got(BOUND), RemoteProtocolError], BIND_ASKED, OVER, command=2, closes=True
    ),
    "BIND, still listening": ClientFlow(
        f"05 00  {OK}  05 00", [got(BOUND)], BIND_ASKED, Stage.SECOND_REPLY, command=2
    ),
}


@pytest.mark.parametrize("flow", CLIENT_FLOWS.values(), ids=CLIENT_FLOWS)
def test_client_flow(flow: ClientFlow, cut: Cut) -> None:
    outcome = run_client(flow, cut)
    expected = Outcome(list(flow.events), octets(flow.output), flow.stage, flow.trailing)
    assert outcome == expected
    assert flow.code is None or outcome.errors[0].code == flow.code  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", ["00 00000000 0000", "03 02 6100 0000"])
def test_a_failure_with_a_wrong_address_is_the_end_too(address: str) -> None:
    """Servers that send zeros behind REP exist."""
    machine = client_at(Stage.COMMAND)
    [event] = machine.receive(octets(f"05 05 00 {address}"))
    assert isinstance(event, Rejected)
    assert machine.stage is Stage.CLOSED


@pytest.mark.parametrize(
    ("address", "credentials"),
    [
        (Address("192.0.2.1", 65536), None),
        (Address(b"a" * 256, 80), None),
        (Address(b"", 80), None),
        (TARGET, Credentials(b"u" * 256, b"p")),
        (TARGET, Credentials(b"u", b"p" * 256)),
        (TARGET, Credentials(b"", b"p")),
        (TARGET, Credentials(b"u", b"")),
    ],
    ids=["port", "long name", "no name", "long user", "long password", "no user", "no password"],
)
def test_a_client_that_could_not_send_is_not_made(
    address: Address, credentials: Credentials | None
) -> None:
    """The mistake shows before a connection is wasted on it."""
    with pytest.raises(LocalProtocolError):
        ClientNegotiation(Request(1, address), credentials)


# ================================================================ every stage, every call


def reply_to(code: int) -> Callable[[ServerNegotiation], object]:
    return lambda machine: machine.reply(code, BOUND)


SERVER_CALLS: dict[str, Callable[[ServerNegotiation], object]] = {
    "accept_credentials": ServerNegotiation.accept_credentials,
    "reject_credentials": ServerNegotiation.reject_credentials,
    "reply, success": reply_to(0),
    "reply, failure": reply_to(1),
    "take_trailing": ServerNegotiation.take_trailing,
    "continue_context": lambda machine: machine.continue_context(b"more"),
    "complete_context": lambda machine: machine.complete_context(b"done"),
    "accept_protection": lambda machine: machine.accept_protection(b"ok"),
    "reject_protection": lambda machine: machine.reject_protection(GeneralFailure()),
}

# What is allowed, and the stage afterwards. Everything else raises.
SERVER_ALLOWED = {
    (Stage.CHECKING, "accept_credentials"): Stage.REQUEST,
    (Stage.CHECKING, "reject_credentials"): Stage.CLOSED,
    (Stage.COMMAND, "reply, success"): Stage.ESTABLISHED,
    (Stage.COMMAND, "reply, failure"): Stage.CLOSED,
    (Stage.SECOND_REPLY, "reply, success"): Stage.ESTABLISHED,
    (Stage.SECOND_REPLY, "reply, failure"): Stage.CLOSED,
    (Stage.ESTABLISHED, "take_trailing"): Stage.ESTABLISHED,
    (Stage.CHOICE, "accept_protection"): Stage.REQUEST,
    (Stage.CHOICE, "reject_protection"): Stage.CLOSED,
}

# A part of the next message, which waits in the machine.
SERVER_WAITING = {
    Stage.GREETING: "05 02",
    Stage.CREDENTIALS: "01 04",
    Stage.CHECKING: "05 01",
    Stage.CONTEXT: "01 01",
    Stage.PROTECTION: "01 02",
    Stage.CHOICE: "05 01",
    Stage.REQUEST: "05 01",
    Stage.COMMAND: "05 01",
    Stage.SECOND_REPLY: "05 01",
    Stage.ESTABLISHED: "05 01",
    Stage.CLOSED: "",
}


def server_at(stage: Stage) -> ServerNegotiation:
    """A server at a stage, by the shortest way; nothing waits, nothing is to be sent."""
    if stage in (Stage.CONTEXT, Stage.PROTECTION, Stage.CHOICE):
        return server_with_context(stage)
    has_password = stage in (Stage.CREDENTIALS, Stage.CHECKING)
    command = 2 if stage is Stage.SECOND_REPLY else 1
    machine = ServerNegotiation(PASSWORD if has_password else NONE)
    steps: list[Callable[[], object]] = [
        lambda: machine.receive(octets("05 02 00 02")),
        lambda: machine.receive(octets(USER_OCTETS if has_password else "")),
        lambda: machine.receive(octets(f"05 {command:02x} 00 {TARGET_OCTETS}")),
        lambda: machine.reply(1 if stage is Stage.CLOSED else 0, BOUND),
    ]
    for take in steps:
        if machine.stage is stage:
            break
        take()
    assert machine.stage is stage
    machine.take_output()
    return machine


def server_with_context(stage: Stage) -> ServerNegotiation:
    """A server at a stage of GSSAPI, likewise."""
    machine = ServerNegotiation(GSSAPI)
    machine.receive(octets("05 01 01"))
    if stage is not Stage.CONTEXT:
        machine.receive(octets(TOKEN))
    if stage in (Stage.PROTECTION, Stage.CHOICE):
        machine.complete_context(b"done")
        machine.accept_credentials()
        machine.receive(octets(LEVEL if stage is Stage.CHOICE else ""))
    machine.take_output()
    return machine


def client_with_context(stage: Stage) -> ClientNegotiation:
    """A client at a stage of GSSAPI, likewise."""
    machine = ClientNegotiation(Request(1, TARGET), has_context=True)
    machine.receive(octets("05 01"))
    if stage is not Stage.TOKEN:
        machine.send_token(b"secret")
    if stage in (Stage.PROTECTION, Stage.CHOICE):
        machine.receive(octets(DONE))
        machine.require_protection(b"level")
        machine.receive(octets(LEVEL if stage is Stage.CHOICE else ""))
    assert machine.stage is stage
    machine.take_output()
    return machine


def client_at(stage: Stage, command: int = 1) -> ClientNegotiation:
    """A client at a stage; nothing waits, nothing is to be sent."""
    if stage in (Stage.TOKEN, Stage.CONTEXT, Stage.PROTECTION, Stage.CHOICE):
        return client_with_context(stage)
    ways = {
        Stage.METHOD: "",
        Stage.CHECKING: "05 02",
        Stage.COMMAND: "05 00",
        Stage.SECOND_REPLY: f"05 00  {OK}",
        Stage.ESTABLISHED: f"05 00  {OK}",
        Stage.CLOSED: f"05 00  {refused(1)}",
    }
    command = 2 if stage is Stage.SECOND_REPLY else command
    machine = ClientNegotiation(Request(command, TARGET), USER)
    machine.receive(octets(ways[stage]))
    assert machine.stage is stage
    machine.take_output()
    return machine


CLIENT_CALLS: dict[str, Callable[[ClientNegotiation], object]] = {
    "send_token": lambda machine: machine.send_token(b"secret"),
    "require_protection": lambda machine: machine.require_protection(b"level"),
    "accept_protection": ClientNegotiation.accept_protection,
    "take_trailing": ClientNegotiation.take_trailing,
}

CLIENT_ALLOWED = {
    (Stage.TOKEN, "send_token"): Stage.CONTEXT,
    (Stage.TOKEN, "require_protection"): Stage.PROTECTION,
    (Stage.CHOICE, "accept_protection"): Stage.COMMAND,
    (Stage.ESTABLISHED, "take_trailing"): Stage.ESTABLISHED,
}


def check_call(machine: Any, call: Callable[[Any], object], after: Stage | None) -> None:
    """A call in its place leads on; any other raises, and nothing has changed."""
    before = machine.stage, machine.pending, b""
    if after is not None:
        call(machine)
        assert machine.stage is after
        return
    with pytest.raises(LocalProtocolError):
        call(machine)
    assert (machine.stage, machine.pending, machine.take_output()) == before


@pytest.mark.parametrize("call", SERVER_CALLS)
@pytest.mark.parametrize("stage", SERVER_NEXT, ids=stage_names)
def test_every_call_at_every_stage_of_a_server(stage: Stage, call: str) -> None:
    machine = server_at(stage)
    machine.receive(octets(SERVER_WAITING[stage]))
    check_call(machine, SERVER_CALLS[call], SERVER_ALLOWED.get((stage, call)))


@pytest.mark.parametrize("call", CLIENT_CALLS)
@pytest.mark.parametrize("stage", CLIENT_NEXT, ids=stage_names)
def test_every_call_at_every_stage_of_a_client(stage: Stage, call: str) -> None:
    check_call(client_at(stage), CLIENT_CALLS[call], CLIENT_ALLOWED.get((stage, call)))


@pytest.mark.parametrize("stage", CLIENT_NEXT, ids=stage_names)
def test_the_servers_end_at_every_stage_of_a_client(stage: Stage) -> None:
    """An error while something is awaited, and it says what; afterwards nothing at all."""
    machine = client_at(stage)
    event = machine.receive_end()
    if stage in (Stage.ESTABLISHED, Stage.CLOSED):
        assert event is None
        assert machine.stage is stage
    else:
        assert event is not None
        assert isinstance(event.error, RemoteProtocolError)
        assert stage.value in str(event.error)
        assert machine.stage is Stage.CLOSED
    assert machine.take_output() == b""
    assert machine.receive_end() is None


Make = Callable[[Stage], ServerNegotiation | ClientNegotiation]
both_machines = pytest.mark.parametrize("make", [server_at, client_at])


@both_machines
def test_octets_behind_the_last_message_are_kept_once(make: Make) -> None:
    machine = make(Stage.ESTABLISHED)
    machine.receive(b"one ")
    machine.receive(b"two")
    assert machine.pending == 7
    assert machine.take_trailing() == b"one two"
    assert (machine.pending, machine.take_trailing()) == (0, b"")
    machine.receive(b"three")
    assert machine.take_trailing() == b"three"


@both_machines
def test_after_the_end_octets_lead_to_nothing(make: Make) -> None:
    """Nobody will ever take them, and a peer may send on while the connection is being closed."""
    machine = make(Stage.CLOSED)
    for piece in (b"\x05\x01\x00", b"\x04", b"", b"x" * 1000):
        assert not machine.receive(piece)
    assert (machine.stage, machine.pending, machine.take_output()) == (Stage.CLOSED, 0, b"")


# ---------------------------------------------------------------- work

MANY = 4096
"""Octets that come one by one."""


class Octet(bytes):
    """One that counts what is copied to put it behind others, which would be all that wait."""

    copied = 0

    def __radd__(self, before: bytes) -> bytes:
        Octet.copied += len(before)
        return before + bytes(self)


def with_a_long_token_to_come(make: Make) -> ServerNegotiation | ClientNegotiation:
    machine = make(Stage.CONTEXT)
    machine.receive(octets("01 01 ffff"))
    return machine


@pytest.mark.parametrize(
    "make",
    [
        lambda: server_at(Stage.CHECKING),
        lambda: server_at(Stage.CHOICE),
        lambda: server_at(Stage.COMMAND),
        lambda: client_at(Stage.ESTABLISHED),
        lambda: with_a_long_token_to_come(server_at),
        lambda: with_a_long_token_to_come(client_at),
    ],
)
def test_octets_that_wait_are_not_copied_for_each_that_comes(
    make: Callable[[], ServerNegotiation | ClientNegotiation], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make()
    before = machine.pending
    monkeypatch.setattr(Octet, "copied", 0)
    for _ in range(MANY):
        assert not machine.receive(Octet(b"x"))
    assert machine.pending == before + MANY
    assert Octet.copied <= MANY


@both_machines
def test_a_long_message_is_looked_at_when_it_is_whole(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = with_a_long_token_to_come(make)
    looks: list[int] = []
    decode = Message.decode

    def look(buffer: bytes, expected: MessageType) -> Any:
        looks.append(len(buffer))
        return decode(buffer, expected)

    monkeypatch.setattr(Message, "decode", look)
    token = bytes(65535)
    events = [machine.receive(token[at : at + 1]) for at in range(len(token))]
    (found,) = (event for event in events if event)
    assert found in (TokenReceived(token), [TokenReceived(token)])
    assert len(looks) == 1


# ---------------------------------------------------------------- what is remembered


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The requests that were decoded, for they were not remembered."""
    found: list[bytes] = []
    decode = Request.decode

    def note(buffer: bytes) -> tuple[Request, int] | None:
        found.append(bytes(buffer))
        return decode(buffer)

    monkeypatch.setattr(Request, "decode", note)
    return found


def ask(*requests: bytes) -> None:
    """Each in a conversation of its own."""
    for request in requests:
        machine = ServerNegotiation()
        machine.receive(octets("05 01 00"))
        machine.receive(request)


def test_a_message_that_came_before_is_not_decoded_again(decoded: list[bytes]) -> None:
    request = octets("05 01 00 01 c6336401 0001")
    ask(request, request)
    assert decoded == [request]


@pytest.mark.parametrize("more", [b"secret", bytes(300)], ids=["more behind it", "much behind it"])
def test_only_whole_messages_are_remembered(decoded: list[bytes], more: bytes) -> None:
    """What came behind one may be a password or payload, and is nobody else's business."""
    request = octets("05 01 00 01 c6336401 0002") + more
    ask(request, request)
    assert decoded == [request, request]


def test_the_memory_is_bounded(decoded: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_negotiation, "REMEMBERED", 2)
    requests = [octets(f"05 01 00 01 c6336402 00{port:02x}") for port in range(3)]
    ask(*requests, requests[0])
    assert decoded == [*requests, requests[0]]


# ================================================================ the tables


Table = Mapping[Stage, frozenset[Stage]]
both_tables = pytest.mark.parametrize(
    ("table", "first"),
    [(SERVER_NEXT, Stage.GREETING), (CLIENT_NEXT, Stage.METHOD)],
    ids=["server", "client"],
)


@both_tables
def test_only_the_last_stages_lead_nowhere(table: Table, first: Stage) -> None:
    ends = {stage for stage, following in table.items() if not following}
    assert ends == {Stage.ESTABLISHED, Stage.CLOSED}
    assert first not in ends


@both_tables
def test_no_stage_is_entered_twice(table: Table, first: Stage) -> None:
    """Without a circle, a peer cannot keep a negotiation going. The one that there is, for the tokens of a context,
    is counted: see the flows with endless tokens.
    """
    counted = {(Stage.CHECKING, Stage.CONTEXT), (Stage.CONTEXT, Stage.TOKEN)}

    def longest(stage: Stage, way: tuple[Stage, ...]) -> None:
        assert stage not in way
        for following in table[stage]:
            if (stage, following) not in counted:
                longest(following, (*way, stage))

    longest(first, ())


def test_no_stage_is_entered_against_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is not a drawing: whatever a step would do, it is asked."""
    monkeypatch.setitem(SERVER_NEXT, Stage.GREETING, frozenset())  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="REQUEST cannot follow GREETING"):
        ServerNegotiation().receive(octets("05 01 00"))


def transitions(outcomes: Iterable[Outcome]) -> set[tuple[Stage, Stage]]:
    return {
        (before, after)
        for outcome in outcomes
        for before, after in pairwise(outcome.stages)
        if before is not after
    }


def edges(table: Table) -> set[tuple[Stage, Stage]]:
    return {(stage, following) for stage, all_of in table.items() for following in all_of}


def test_the_flows_walk_every_way_of_the_servers_table() -> None:
    """And no other way; octet by octet, so that each step is seen."""
    outcomes = [run_server(flow, octet_by_octet) for flow in SERVER_FLOWS.values()]
    assert transitions(outcomes) == edges(SERVER_NEXT)


def test_the_flows_walk_every_way_of_the_clients_table() -> None:
    outcomes = [run_client(flow, octet_by_octet) for flow in CLIENT_FLOWS.values()]
    assert transitions(outcomes) == edges(CLIENT_NEXT)


# ================================================================ no password in any text


def texts_of(outcome: Outcome) -> str:
    errors = [*outcome.errors, *(e.__cause__ or e.__context__ for e in outcome.errors)]
    return repr(outcome.events) + "".join(str(error) + repr(error) for error in errors)


def test_no_password_in_any_event_or_error() -> None:
    """Wherever a server's conversation stops, or a client's."""
    for served in SERVER_FLOWS.values():
        assert "secret" not in texts_of(run_server(served, glued))
    for used in CLIENT_FLOWS.values():
        assert "secret" not in texts_of(run_client(used, glued))


def test_no_password_in_the_text_of_a_machine() -> None:
    server = server_at(Stage.CREDENTIALS)
    server.receive(octets(USER_OCTETS))
    client = client_at(Stage.CHECKING)
    assert "secret" not in f"{server!r} {server} {client!r} {client}"


# ================================================================ properties


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(at)]


def said(*known: str) -> st.SearchStrategy[bytes]:
    """Conversations: right messages, right ones in the wrong place, parts of them, and noise."""
    message = st.sampled_from([octets(each) for each in known])
    part = st.tuples(message, st.integers(0, 12)).map(lambda pair: pair[0][: pair[1]])
    return st.one_of(
        st.lists(message, max_size=6).map(b"".join),
        st.lists(st.one_of(message, message, part, st.binary(max_size=8)), max_size=6).map(
            b"".join
        ),
        st.binary(max_size=40),
    )


from_clients = st.tuples(
    st.sampled_from(
        [b"", b"", octets("05 01 00"), octets("05 02 00 02"), octets(f"05 01 01 {TOKEN}")]
    ),
    said(
        "05 01 00",
        "05 02 00 02",
        USER_OCTETS,
        TOKEN,
        LEVEL,
        "01 ff",
        f"{ASK}",
        f"05 02 00 {NAMED_OCTETS}",
        f"05 03 00 {PEER_OCTETS}",
        "05 01 00 03 01 00 0050",
        "05 01 00 05",
    ),
).map(b"".join)
from_servers = st.tuples(
    st.sampled_from(
        [b"", b"", octets("05 00"), octets("05 02 01 00"), octets(f"05 01 {DONE} {LEVEL}")]
    ),
    said(
        "05 00",
        "05 02",
        "01 00",
        DONE,
        LEVEL,
        "01 ff",
        "05 ff",
        f"{OK}",
        f"05 00 00 {NAMED_OCTETS}",
        f"{CAME}",
        refused(5),
        "05 ff 00 07",
    ),
).map(b"".join)
cut_positions = st.lists(st.integers(1, 120), max_size=12)
method_lists = st.sampled_from([(0,), (2,), (0, 2), (2, 0), (1,), (1, 2), ()])
answers = st.sampled_from(
    [[(0, BOUND)], [(0, BOUND), (0, PEER)], [(0, BOUND), (5, BOUND)], [(1, BOUND)], []]
)


def serve_anything(
    data: Iterable[bytes],
    methods: Sequence[int],
    replies: Sequence[tuple[int, Address]],
    **how: Any,
) -> Outcome:
    """Serve with replies that may be too many: those are not sent."""

    class Patient(ServerNegotiation):
        __slots__ = ()

        def reply(self, code: int, address: Address = UNSPECIFIED) -> None:
            if self.stage in (Stage.COMMAND, Stage.SECOND_REPLY):
                super().reply(code, address)

    return serve(Patient(methods), data, replies=replies, **how)


@given(
    from_clients,
    cut_positions,
    method_lists,
    st.booleans(),
    answers,
    st.booleans(),
    st.integers(1, 2),
)
@settings(max_examples=400)
def test_cuts_never_change_what_a_server_does(
    data: bytes,
    cuts: list[int],
    methods: Sequence[int],
    accepted: bool,
    replies: Sequence[tuple[int, Address]],
    late: bool,
    legs: int,
) -> None:
    """Nor does the moment of the answers; and whatever comes, nothing is raised."""
    whole, other, slow = (
        serve_anything(pieces, methods, replies, accepted=accepted, late=is_late, legs=legs)
        for pieces, is_late in (
            ([data], False),
            (pieces_of(data, cuts), late),
            (octet_by_octet(data), False),
        )
    )
    assert whole == other == slow
    assert whole.details == other.details == slow.details


@given(
    from_servers,
    cut_positions,
    st.sampled_from([1, 2, 3]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=400)
def test_cuts_never_change_what_a_client_does(
    data: bytes,
    cuts: list[int],
    command: int,
    has_password: bool,
    has_context: bool,
    closes: bool,
) -> None:
    """And whatever comes, nothing is raised."""
    whole, other, slow = (
        use(
            ClientNegotiation(
                Request(command, TARGET), USER if has_password else None, has_context
            ),
            pieces,
            closes=closes,
        )
        for pieces in ([data], pieces_of(data, cuts), octet_by_octet(data))
    )
    assert whole == other == slow
    assert whole.details == other.details == slow.details


@given(from_clients, cut_positions)
@settings(max_examples=200)
def test_no_octets_get_past_a_password(data: bytes, cuts: list[int]) -> None:
    """Where a password or a context is required and not accepted, no request is ever understood."""
    outcome = serve_anything(pieces_of(data, cuts), (1, 2), [], accepted=False)
    assert not any(isinstance(event, CommandRequested) for event in outcome.events)
    assert outcome.stage in (Stage.GREETING, Stage.CREDENTIALS, Stage.CONTEXT, Stage.CLOSED)


@given(st.sampled_from([1, 3, 0x55]), st.binary(max_size=50), st.booleans())
def test_the_two_machines_understand_each_other(
    command: int, sent_ahead: bytes, has_password: bool
) -> None:
    """Both ways, with optimistic octets behind the request and the first octets of the target."""
    client = ClientNegotiation(Request(command, NAMED), USER if has_password else None)
    server = ServerNegotiation((Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION))
    server.receive(client.take_output())
    client.receive(server.take_output())
    event = server.receive(client.take_output() + (b"" if has_password else sent_ahead))
    if has_password:
        assert event == CredentialsReceived(USER)
        server.accept_credentials()
        client.receive(server.take_output())
        event = server.receive(client.take_output() + sent_ahead)
    assert event == asked(command, NAMED)
    server.reply(0, BOUND)
    assert client.receive(server.take_output() + b"banner") == [got(BOUND)]
    assert (client.take_trailing(), server.take_trailing()) == (b"banner", sent_ahead)


def test_the_methods_may_be_others_until_the_greeting_is_complete() -> None:
    server = ServerNegotiation((Method.USERNAME_PASSWORD,))
    server.receive(b"\5")
    server.methods = (Method.NO_AUTHENTICATION, Method.USERNAME_PASSWORD)
    server.receive(b"\2\2\0")
    assert server.take_output() == b"\5\0"
    with pytest.raises(LocalProtocolError, match="the method is chosen already at REQUEST"):
        server.methods = (Method.USERNAME_PASSWORD,)


def test_the_methods_can_only_be_such_as_can_be_carried_out() -> None:
    server = ServerNegotiation()
    with pytest.raises(LocalProtocolError, match="cannot carry out all of the methods"):
        server.methods = (Method.NO_AUTHENTICATION, 0x80)
    assert server.methods == (Method.NO_AUTHENTICATION,)
