"""The client's half: whole conversations in octets written out by hand after RFC 1928, 1929 and 1961."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socks5.protocol.address import Address
from socks5.protocol.client_negotiation import ClientNegotiation, ReplyReceived
from socks5.protocol.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    GeneralFailure,
    LocalProtocolError,
    NoAcceptableMethod,
    RemoteProtocolError,
    ReplyError,
)
from socks5.protocol.gssapi import MAX_TOKENS, Message, MessageType
from socks5.protocol.messages import Credentials, Reply, Request
from socks5.protocol.stages import CLIENT_NEXT, ProtectionReceived, Rejected, Stage, TokenReceived
from tests.support.negotiations import (
    BARE,
    BOUND,
    BOUND_OCTETS,
    DONE,
    HELLO,
    LEVEL,
    MANY,
    MORE,
    NAMED,
    NAMED_OCTETS,
    NOWHERE_OCTETS,
    PEER,
    PEER_OCTETS,
    TARGET,
    TARGET_OCTETS,
    TOKEN,
    USER,
    USER_OCTETS,
    Cut,
    Octet,
    Outcome,
    Talk,
    cut_positions,
    edges,
    in_any_cut,
    octet_by_octet,
    octets,
    pieces_of,
    said,
    stage_names,
)

OVER, RELAY = Stage.CLOSED, Stage.ESTABLISHED


@dataclass(frozen=True)
class ClientFlow:
    """A server's octets, whether it then closes its side, and what must come of them."""

    server: str
    events: Sequence[object]
    output: str
    stage: Stage
    trailing: bytes = b""
    command: int = 1
    credentials: Credentials | None = None
    code: int | None = None
    closes: bool = False
    has_context: bool = False
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
    talk = Talk(machine)

    def note(new: Sequence[object]) -> None:
        talk.step(*new)
        if len(talk.events) - 1 == answered:
            return
        if machine.stage is Stage.TOKEN:
            is_complete = sum(isinstance(event, TokenReceived) for event in talk.events) > legs
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
    if closes:
        talk.step(machine.receive_end())
    return talk.outcome


def run(flow: ClientFlow, cut: Cut) -> Outcome:
    request = Request(flow.command, TARGET)
    machine = ClientNegotiation(request, flow.credentials, flow.has_context)
    how = {"closes": flow.closes, "legs": flow.legs, "answered": flow.answered}
    return use(machine, cut(octets(flow.server)), **how)


def got(address: Address, code: int = 0) -> ReplyReceived:
    return ReplyReceived(Reply(code, address))


GREETED = "05 01 00"
ASKED = f"05 01 00  05 01 00 {TARGET_OCTETS}"
BIND_ASKED = f"05 01 00  05 02 00 {TARGET_OCTETS}"
OFFERED = "05 02 00 02"
LOGGED_IN = f"05 02 00 02  {USER_OCTETS}"
OFFERED_CONTEXT = "05 02 01 00"

CLIENT_FLOWS = {
    "nothing at all": ClientFlow("", [], GREETED, Stage.METHOD),
    "nothing at all, with a password to offer": ClientFlow(
        "", [], OFFERED, Stage.METHOD, credentials=USER
    ),
    "CONNECT": ClientFlow(f"05 00  05 00 00 {BOUND_OCTETS}", [got(BOUND)], ASKED, RELAY),
    "CONNECT, octets glued behind the reply": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS} {HELLO}", [got(BOUND)], ASKED, RELAY, b"hello"
    ),
    "what looks like a reply behind the reply is relayed": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS} 05 01 00 03", [got(BOUND)], ASKED, RELAY, b"\5\1\0\3"
    ),
    "the end after the reply is the relay's": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS}", [got(BOUND)], ASKED, RELAY, closes=True
    ),
    "IPv6 in BND.ADDR": ClientFlow(f"05 00  05 00 00 {PEER_OCTETS}", [got(PEER)], ASKED, RELAY),
    "a name in BND.ADDR": ClientFlow(
        f"05 00  05 00 00 {NAMED_OCTETS} {HELLO}", [got(NAMED)], ASKED, RELAY, b"hello"
    ),
    "an empty name in BND.ADDR": ClientFlow(
        f"05 00  05 00 00 03 00 0000 {HELLO}", [got(Address(b"", 0))], ASKED, RELAY, b"hello"
    ),
    "RSV is not read": ClientFlow(f"05 00  05 00 01 {BOUND_OCTETS}", [got(BOUND)], ASKED, RELAY),
    "UDP ASSOCIATE": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS}",
        [got(BOUND)],
        f"05 01 00  05 03 00 {TARGET_OCTETS}",
        RELAY,
        command=3,
    ),
    "a password": ClientFlow(
        f"05 02  01 00  05 00 00 {BOUND_OCTETS} {HELLO}",
        [got(BOUND)],
        f"{LOGGED_IN}  05 01 00 {TARGET_OCTETS}",
        RELAY,
        b"hello",
        credentials=USER,
    ),
    "a password, its status with VER 5": ClientFlow(
        f"05 02  05 00  05 00 00 {BOUND_OCTETS}",
        [got(BOUND)],
        f"{LOGGED_IN}  05 01 00 {TARGET_OCTETS}",
        RELAY,
        credentials=USER,
    ),
    "a password offered and not wanted": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS}",
        [got(BOUND)],
        f"{OFFERED}  05 01 00 {TARGET_OCTETS}",
        RELAY,
        credentials=USER,
    ),
    "a wrong password": ClientFlow(
        "05 02  01 01", [AuthenticationFailed], LOGGED_IN, OVER, credentials=USER
    ),
    "a wrong password, status 255 with VER 5": ClientFlow(
        "05 02  05 ff", [AuthenticationFailed], LOGGED_IN, OVER, credentials=USER
    ),
    "a status of another version": ClientFlow(
        "05 02  02 00", [RemoteProtocolError], LOGGED_IN, OVER, credentials=USER
    ),
    "GSSAPI": ClientFlow(
        f"05 01  {DONE}  {LEVEL}  05 00 00 {BOUND_OCTETS} {HELLO}",
        [TokenReceived(b""), TokenReceived(b"done"), ProtectionReceived(b"level"), got(BOUND)],
        f"{OFFERED_CONTEXT}  {TOKEN}  {LEVEL}  05 01 00 {TARGET_OCTETS}",
        RELAY,
        b"hello",
        has_context=True,
    ),
    "GSSAPI, several tokens": ClientFlow(
        f"05 01  {MORE} 01 01 0000  {BARE}  05 00 00 {BOUND_OCTETS}",
        [
            TokenReceived(b""),
            TokenReceived(b"more"),
            TokenReceived(b""),
            ProtectionReceived(b"\0"),
            got(BOUND),
        ],
        f"05 03 01 00 02  {TOKEN} {TOKEN}  {LEVEL}  05 01 00 {TARGET_OCTETS}",
        RELAY,
        credentials=USER,
        has_context=True,
        legs=2,
    ),
    "GSSAPI, a context that is not accepted": ClientFlow(
        "05 01  01 ff",
        [TokenReceived(b""), AuthenticationFailed],
        f"{OFFERED_CONTEXT}  {TOKEN}",
        OVER,
        has_context=True,
    ),
    "GSSAPI, a level that will not do": ClientFlow(
        f"05 01  {DONE}  01 ff",
        [TokenReceived(b""), TokenReceived(b"done"), AuthenticationFailed],
        f"{OFFERED_CONTEXT}  {TOKEN}  {LEVEL}",
        OVER,
        has_context=True,
    ),
    "GSSAPI, a token of another version": ClientFlow(
        f"05 01  05 00 00 {BOUND_OCTETS}",
        [TokenReceived(b""), RemoteProtocolError],
        f"{OFFERED_CONTEXT}  {TOKEN}",
        OVER,
        has_context=True,
    ),
    "GSSAPI, a reply where a level is due": ClientFlow(
        f"05 01  {DONE}  05 00 00 {BOUND_OCTETS}",
        [TokenReceived(b""), TokenReceived(b"done"), RemoteProtocolError],
        f"{OFFERED_CONTEXT}  {TOKEN}  {LEVEL}",
        OVER,
        has_context=True,
    ),
    "GSSAPI, endless tokens": ClientFlow(
        f"05 01  {'01 01 0000' * (MAX_TOKENS + 1)}",
        [*[TokenReceived(b"")] * (MAX_TOKENS + 1), RemoteProtocolError],
        f"{OFFERED_CONTEXT}  {TOKEN * (MAX_TOKENS + 1)}",
        OVER,
        has_context=True,
        legs=MAX_TOKENS + 2,
    ),
    "GSSAPI, the end instead of a token": ClientFlow(
        "05 01  01 01 0004 64",
        [TokenReceived(b""), RemoteProtocolError],
        f"{OFFERED_CONTEXT}  {TOKEN}",
        OVER,
        has_context=True,
        closes=True,
    ),
    "GSSAPI, the end before our token": ClientFlow(
        "05 01",
        [TokenReceived(b""), RemoteProtocolError],
        OFFERED_CONTEXT,
        OVER,
        has_context=True,
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
        has_context=True,
        closes=True,
        answered=2,
    ),
    "no acceptable method": ClientFlow("05 ff", [NoAcceptableMethod], GREETED, OVER),
    "no acceptable method, a password among them": ClientFlow(
        "05 ff", [NoAcceptableMethod], OFFERED, OVER, credentials=USER
    ),
    "no acceptable method, the rest glued": ClientFlow(
        f"05 ff  05 00 00 {BOUND_OCTETS}", [NoAcceptableMethod], GREETED, OVER
    ),
    "a password wanted and not offered": ClientFlow(
        "05 02  01 00", [RemoteProtocolError], GREETED, OVER
    ),
    "GSSAPI was not offered": ClientFlow(
        "05 01", [RemoteProtocolError], OFFERED, OVER, credentials=USER
    ),
    "a private method was not offered": ClientFlow("05 fe", [RemoteProtocolError], GREETED, OVER),
    "not a SOCKS5 server": ClientFlow(
        b"HTTP/1.1 400 Bad Request\r\n\r\n".hex(), [RemoteProtocolError], GREETED, OVER
    ),
    "a SOCKS4 server": ClientFlow("00 5b 0000 00000000", [RemoteProtocolError], GREETED, OVER),
    "a reply of another version": ClientFlow(
        f"05 00  04 00 00 {BOUND_OCTETS}", [RemoteProtocolError], ASKED, OVER
    ),
    "success with an unknown address type": ClientFlow(
        "05 00  05 00 00 00 00000000 0000", [RemoteProtocolError], ASKED, OVER
    ),
    "success with a zero octet in a name": ClientFlow(
        "05 00  05 00 00 03 02 6100 0000", [RemoteProtocolError], ASKED, OVER
    ),
    "refused": ClientFlow(
        f"05 00  05 05 00 {NOWHERE_OCTETS} {HELLO}", [ConnectionRefused], ASKED, OVER, code=5
    ),
    "refused, with a name": ClientFlow(
        f"05 00  05 05 00 {NAMED_OCTETS}", [ConnectionRefused], ASKED, OVER, code=5
    ),
    "unassigned REP 9": ClientFlow(
        f"05 00  05 09 00 {NOWHERE_OCTETS}", [ReplyError], ASKED, OVER, code=9
    ),
    "unassigned REP 255": ClientFlow(
        f"05 00  05 ff 00 {NOWHERE_OCTETS}", [ReplyError], ASKED, OVER, code=255
    ),
    "refused shortly, VER and REP": ClientFlow(
        "05 00  05 05", [ConnectionRefused], ASKED, OVER, code=5, closes=True
    ),
    "refused shortly, with RSV": ClientFlow(
        "05 00  05 05 00", [ConnectionRefused], ASKED, OVER, code=5, closes=True
    ),
    "refused shortly, one octet missing": ClientFlow(
        "05 00  05 05 00 01 00000000 00", [ConnectionRefused], ASKED, OVER, code=5, closes=True
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
        "05 02  01", [RemoteProtocolError], LOGGED_IN, OVER, credentials=USER, closes=True
    ),
    "the end after a refusal": ClientFlow(
        "05 ff", [NoAcceptableMethod], GREETED, OVER, closes=True
    ),
    "BIND": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS}  05 00 00 {PEER_OCTETS} {HELLO}",
        [got(BOUND), got(PEER)],
        BIND_ASKED,
        RELAY,
        b"hello",
        command=2,
    ),
    "BIND refused": ClientFlow(
        f"05 00  05 01 00 {NOWHERE_OCTETS}", [GeneralFailure], BIND_ASKED, OVER, command=2, code=1
    ),
    "BIND, nobody came": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS}  05 05 00 {NOWHERE_OCTETS}",
        [got(BOUND), ConnectionRefused],
        BIND_ASKED,
        OVER,
        command=2,
        code=5,
    ),
    "BIND, nobody came, said shortly": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS}  05 05",
        [got(BOUND), ConnectionRefused],
        BIND_ASKED,
        OVER,
        command=2,
        code=5,
        closes=True,
    ),
    "BIND, the end instead of a peer": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS}",
        [got(BOUND), RemoteProtocolError],
        BIND_ASKED,
        OVER,
        command=2,
        closes=True,
    ),
    "BIND, still listening": ClientFlow(
        f"05 00  05 00 00 {BOUND_OCTETS}  05 00",
        [got(BOUND)],
        BIND_ASKED,
        Stage.SECOND_REPLY,
        command=2,
    ),
}


@in_any_cut
@pytest.mark.parametrize("flow", CLIENT_FLOWS.values(), ids=CLIENT_FLOWS)
def test_a_flow(flow: ClientFlow, cut: Cut) -> None:
    outcome = run(flow, cut)
    expected = Outcome(list(flow.events), octets(flow.output), flow.stage, flow.trailing)
    assert outcome == expected
    assert [e.code for e in outcome.errors if isinstance(e, ReplyError)] == (
        [] if flow.code is None else [flow.code]
    )
    assert "secret" not in outcome.text


def test_the_flows_walk_every_way_of_the_table() -> None:
    """And no other way; octet by octet, so that each step is seen."""
    outcomes = [run(flow, octet_by_octet) for flow in CLIENT_FLOWS.values()]
    assert set().union(*(outcome.steps for outcome in outcomes)) == edges(CLIENT_NEXT)


def test_both_replies_of_a_bind_in_one_piece_are_two_events() -> None:
    machine = client_at(Stage.COMMAND, command=2)
    events = machine.receive(octets(f"05 00 00 {BOUND_OCTETS}  05 00 00 {PEER_OCTETS}"))
    assert events == [got(BOUND), got(PEER)]


def test_the_client_survives_every_unassigned_code() -> None:
    for code in range(9, 256):
        machine = client_at(Stage.COMMAND)
        [event] = machine.receive(octets(f"05 {code:02x} 00 {NOWHERE_OCTETS}"))
        assert isinstance(event, Rejected)
        assert type(event.error) is ReplyError
        assert event.error.code == code


@pytest.mark.parametrize("address", ["00 00000000 0000", "03 02 6100 0000"])
def test_a_failure_with_a_wrong_address_is_the_end_too(address: str) -> None:
    """Servers that send zeros behind REP exist."""
    machine = client_at(Stage.COMMAND)
    [event] = machine.receive(octets(f"05 05 00 {address}"))
    assert isinstance(event, Rejected)
    assert machine.stage is OVER


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


CLIENT_CALLS: dict[str, tuple[Stage, Callable[[ClientNegotiation], object]]] = {
    "send_token": (Stage.TOKEN, lambda machine: machine.send_token(b"secret")),
    "require_protection": (Stage.TOKEN, lambda machine: machine.require_protection(b"level")),
    "accept_protection": (Stage.CHOICE, ClientNegotiation.accept_protection),
}


@pytest.mark.parametrize("call", CLIENT_CALLS)
@pytest.mark.parametrize("stage", CLIENT_NEXT, ids=stage_names)
def test_every_call_at_every_stage(stage: Stage, call: str) -> None:
    machine = client_at(stage)
    place, make = CLIENT_CALLS[call]
    if stage is place:
        make(machine)
        assert machine.stage is not stage
        return
    with pytest.raises(LocalProtocolError):
        make(machine)
    assert (machine.stage, machine.take_output()) == (stage, b"")


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
        Stage.SECOND_REPLY: f"05 00  05 00 00 {BOUND_OCTETS}",
        RELAY: f"05 00  05 00 00 {BOUND_OCTETS}",
        OVER: f"05 00  05 01 00 {NOWHERE_OCTETS}",
    }
    command = 2 if stage is Stage.SECOND_REPLY else command
    machine = ClientNegotiation(Request(command, TARGET), USER)
    machine.receive(octets(ways[stage]))
    assert machine.stage is stage
    machine.take_output()
    return machine


@pytest.mark.parametrize("stage", CLIENT_NEXT, ids=stage_names)
def test_a_client_has_trailing_octets_only_when_established(stage: Stage) -> None:
    machine = client_at(stage)
    if stage is RELAY:
        assert machine.take_trailing() == b""
        return
    with pytest.raises(LocalProtocolError):
        machine.take_trailing()
    assert (machine.stage, machine.pending, machine.take_output()) == (stage, 0, b"")


@pytest.mark.parametrize("stage", CLIENT_NEXT, ids=stage_names)
def test_the_servers_end_at_every_stage_of_a_client(stage: Stage) -> None:
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
    machine = client_at(RELAY)
    machine.receive(b"one ")
    machine.receive(b"two")
    assert machine.pending == 7
    assert machine.take_trailing() == b"one two"
    assert (machine.pending, machine.take_trailing()) == (0, b"")


def test_after_the_end_octets_lead_to_nothing_and_are_not_kept() -> None:
    machine = client_at(OVER)
    assert not machine.receive(b"\x05\x00" * 1000)
    assert (machine.stage, machine.pending, machine.take_output()) == (OVER, 0, b"")


def test_no_secret_in_the_text_of_a_machine() -> None:
    client = client_at(Stage.CHECKING)
    assert "secret" not in f"{client!r} {client}"


# ---------------------------------------------------------------- work


def established() -> ClientNegotiation:
    return client_at(RELAY)


def with_a_token_to_come() -> ClientNegotiation:
    client = client_at(Stage.CONTEXT)
    client.receive(octets("01 01 ffff"))
    return client


@pytest.mark.parametrize("made", [established, with_a_token_to_come])
def test_octets_that_wait_are_not_copied_for_each_that_comes(
    made: Callable[[], ClientNegotiation], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = made()
    before = machine.pending
    monkeypatch.setattr(Octet, "copied", 0)
    for _ in range(MANY):
        assert not machine.receive(Octet(b"x"))
    assert machine.pending == before + MANY
    assert Octet.copied <= MANY


def test_a_long_message_is_looked_at_when_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = with_a_token_to_come()
    looks: list[int] = []
    decode = Message.decode

    def look(buffer: bytes, expected: MessageType) -> Any:
        looks.append(len(buffer))
        return decode(buffer, expected)

    monkeypatch.setattr(Message, "decode", look)
    token = bytes(65535)
    events = [event for at in range(len(token)) for event in machine.receive(token[at : at + 1])]
    assert events == [TokenReceived(token)]
    assert len(looks) == 1


# ---------------------------------------------------------------- properties

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
        f"05 00 00 {BOUND_OCTETS}",
        f"05 00 00 {NAMED_OCTETS}",
        f"05 00 00 {PEER_OCTETS}",
        f"05 05 00 {NOWHERE_OCTETS}",
        "05 ff 00 07",
    ),
).map(b"".join)


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
    data: bytes, cuts: list[int], command: int, has_password: bool, has_context: bool, closes: bool
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
