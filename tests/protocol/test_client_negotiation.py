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
from socks5.protocol.stages import (
    CLIENT_NEXT,
    ProtectionReceived,
    Rejected,
    Stage,
    TokenReceived,
)
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
OFFERED, LOGGED_IN, WITH_CONTEXT = "05 02 00 02", f"05 02 00 02 {said.USER_OCTETS}", "05 01 01"
AT_ONCE, LOGIN_AT_ONCE = ASKED, f"05 01 02 {said.USER_OCTETS} {ASK}"

NOBODY, EITHER, PASSWORD, CONTEXT = (0,), (0, 2), (2,), (1,)


@dataclass(frozen=True)
class Flow:
    """A server's octets, whether it then *ends*, and what must come of them. Behind each | it waits for the client, as
    all servers do that keep to the RFC. The context is complete after so many *legs*; only so many events are
    *answered*, if it is said.
    """

    server: str
    events: Sequence[object]
    output: str = ASKED
    stage: Stage = OVER
    trailing: bytes = b""
    command: int = 1
    methods: Sequence[int] = NOBODY
    pipelined: bool = False
    legs: int = 1
    answered: int | None = None

    def machine(self) -> ClientNegotiation:
        user = USER if 2 in self.methods else None
        request = Request(self.command, TARGET)
        return ClientNegotiation(request, self.methods, user, is_pipelined=self.pipelined)

    def run(self, cut: Cut) -> said.Outcome:
        pieces = [piece for part in self.server.split("|") for piece in cut(octets(part))]
        return use(self.machine(), pieces, self.legs, self.answered)


def use(
    machine: ClientNegotiation,
    pieces: Iterable[bytes],
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
            note(machine.accept_protection())

    for piece in pieces:
        note(machine.receive(piece))
    return talk.outcome


def got(address: Address) -> ReplyReceived:
    return ReplyReceived(Reply(0, address))


FIRST, LAST, ANY_LEVEL = TokenReceived(b""), TokenReceived(b"done"), ProtectionReceived(b"level")
FAILED, WRONG, NONE = [AuthenticationFailed], [RemoteProtocolError], [NoAcceptableMethod]

# fmt: off
FLOWS = {
    "nothing at all": Flow("", [], GREETED, METHOD),
    "octets glued behind the reply": Flow(f"05 00 | {OK} {HELLO}", [got(BOUND)], ASKED, RELAY, b"hello"),
    "what looks like a reply there": Flow(f"05 00 | {OK} 05 01 00 03", [got(BOUND)], ASKED, RELAY, b"\5\1\0\3"),
    "a name in it": Flow(f"05 00 | 05 00 00 {said.NAMED_OCTETS}", [got(said.NAMED)], ASKED, RELAY),
    "an empty name in it": Flow("05 00 | 05 00 00 03 00 0000", [got(Address(b"", 0))], ASKED, RELAY),

    "a password": Flow(f"05 02 | 01 00 | {OK}", [got(BOUND)], f"{LOGGED_IN} {ASK}", RELAY, methods=EITHER),
    "its status with VER 5": Flow(f"05 02 | 05 00 | {OK}", [got(BOUND)], f"{LOGGED_IN} {ASK}", RELAY, methods=EITHER),
    "offered and not wanted": Flow(f"05 00 | {OK}", [got(BOUND)], f"{OFFERED} {ASK}", RELAY, methods=EITHER),
    "a wrong password": Flow("05 02 | 01 01", FAILED, LOGGED_IN, methods=EITHER),
    "a wrong password, status 255 with VER 5": Flow("05 02 | 05 ff", FAILED, LOGGED_IN, methods=EITHER),
    "a status of another version": Flow("05 02 | 02 00", WRONG, LOGGED_IN, methods=EITHER),

    "GSSAPI": Flow(
        f"05 01 | {DONE} | {LEVEL} | {OK} {HELLO}", [FIRST, LAST, ANY_LEVEL, got(BOUND)],
        f"{WITH_CONTEXT} {TOKEN} {LEVEL} {ASK}", RELAY, b"hello", methods=CONTEXT,
    ),
    "several tokens": Flow(
        f"05 01 | {said.MORE} | 01 01 0000 | {said.BARE} | {OK}",
        [FIRST, TokenReceived(b"more"), FIRST, ProtectionReceived(b"\0"), got(BOUND)],
        f"05 02 01 00 {TOKEN} {TOKEN} {LEVEL} {ASK}", RELAY, methods=(1, 0), legs=2,
    ),
    "a context that is not accepted": Flow(
        "05 01 | 01 ff", [FIRST, AuthenticationFailed], f"{WITH_CONTEXT} {TOKEN}", methods=CONTEXT,
    ),
    "a level that will not do": Flow(
        f"05 01 | {DONE} | 01 ff", [FIRST, LAST, AuthenticationFailed],
        f"{WITH_CONTEXT} {TOKEN} {LEVEL}", methods=CONTEXT,
    ),
    "a token of another version": Flow(
        f"05 01 | {OK}", [FIRST, RemoteProtocolError], f"{WITH_CONTEXT} {TOKEN}", methods=CONTEXT,
    ),
    "a reply where a level is due": Flow(
        f"05 01 | {DONE} | {OK}", [FIRST, LAST, RemoteProtocolError], f"{WITH_CONTEXT} {TOKEN} {LEVEL}",
        methods=CONTEXT,
    ),
    "endless tokens": Flow(
        f"05 01 {'| 01 01 0000' * (MAX_TOKENS + 1)}", [*[FIRST] * (MAX_TOKENS + 1), RemoteProtocolError],
        f"{WITH_CONTEXT} {TOKEN * (MAX_TOKENS + 1)}", methods=CONTEXT, legs=MAX_TOKENS + 2,
    ),
    "octets before our verdict on the level": Flow(
        f"05 01 | {DONE} | {LEVEL} | 05", [FIRST, LAST, ANY_LEVEL], f"{WITH_CONTEXT} {TOKEN} {LEVEL}",
        Stage.CHOICE, methods=CONTEXT, answered=2,
    ),

    "no acceptable method, the rest glued": Flow(f"05 ff {OK}", NONE, GREETED),
    "a password wanted and not offered": Flow("05 02 01 00", WRONG, GREETED),
    "GSSAPI was not offered": Flow("05 01", WRONG, OFFERED, methods=EITHER),
    "nobody asked where GSSAPI alone will do": Flow("05 00", WRONG, WITH_CONTEXT, methods=CONTEXT),
    "not a SOCKS5 server": Flow(b"HTTP/1.1 400 Bad Request\r\n\r\n".hex(), WRONG, GREETED),
    "a reply of another version": Flow(f"05 00 | 04 00 00 {said.BOUND_OCTETS}", WRONG),
    "a failure of another version": Flow("05 00 | 04 5b", WRONG),
    "success with an unknown address type": Flow("05 00 | 05 00 00 00 00000000 0000", WRONG),
    "success with a zero in a name": Flow("05 00 | 05 00 00 03 02 6100 0000", WRONG),
    "refused": Flow(f"05 00 | {refused(5)} {HELLO}", [ConnectionRefused]),
    "refused, with zeros behind REP": Flow("05 00 | 05 05 00 00 00000000 0000", [ConnectionRefused]),
    **{
        f"refused shortly, {reply}": Flow(f"05 00 | {reply}", [ConnectionRefused])
        for reply in ("05 05", "05 05 00", "05 05 00 01 00000000 00")
    },
    "refused shortly, unassigned": Flow("05 00 | 05 ff", [ReplyError]),
    "success cut short is not whole": Flow("05 00 | 05 00 00 01 00000000 00", [], stage=Stage.COMMAND),

    "BIND": Flow(f"05 00 | {OK} {said.CAME} {HELLO}", [got(BOUND), got(said.PEER)], BIND_ASKED, RELAY, b"hello", 2),
    "nobody came": Flow(f"05 00 | {OK} {refused(5)}", [got(BOUND), ConnectionRefused], BIND_ASKED, command=2),
    "nobody came, said shortly": Flow(f"05 00 | {OK} 05 05", [got(BOUND), ConnectionRefused], BIND_ASKED, command=2),
    "still listening": Flow(f"05 00 | {OK} 05 00", [got(BOUND)], BIND_ASKED, Stage.SECOND_REPLY, command=2),

    "all at once": Flow(f"05 00 {OK} {HELLO}", [got(BOUND)], AT_ONCE, RELAY, b"hello", pipelined=True),
    "a login at once": Flow(
        f"05 02 01 00 {OK}", [got(BOUND)], LOGIN_AT_ONCE, RELAY, methods=PASSWORD, pipelined=True,
    ),
    "a wrong password at once": Flow(
        f"05 02 01 01 {OK}", FAILED, LOGIN_AT_ONCE, methods=PASSWORD, pipelined=True,
    ),
    "refused at once": Flow("05 00 05 05", [ConnectionRefused], AT_ONCE, pipelined=True),
    "another method than the one": Flow("05 00", WRONG, LOGIN_AT_ONCE, methods=PASSWORD, pipelined=True),
}
# fmt: on


# fmt: off
EARLY = {
    "a reply behind the method": (Flow(f"05 00 {OK}", WRONG, GREETED), METHOD),
    "an octet behind the method": (Flow("05 00 05", WRONG, OFFERED, methods=EITHER), METHOD),
    "a status behind the method": (Flow("05 02 01 00", WRONG, OFFERED, methods=EITHER), METHOD),
    "a reply behind the status": (Flow(f"05 02 | 01 00 {OK}", WRONG, LOGGED_IN, methods=EITHER), Stage.CHECKING),
    "a token before ours": (
        Flow(f"05 01 {DONE}", [FIRST, *WRONG], WITH_CONTEXT, methods=CONTEXT), Stage.TOKEN,
    ),
    "a level before ours": (
        Flow(f"05 01 | {DONE} {LEVEL}", [FIRST, LAST, *WRONG], f"{WITH_CONTEXT} {TOKEN}", methods=CONTEXT),
        Stage.TOKEN,
    ),
    "a reply before our verdict": (
        Flow(
            f"05 01 | {DONE} | {LEVEL} {OK}", [FIRST, LAST, ANY_LEVEL, *WRONG],
            f"{WITH_CONTEXT} {TOKEN} {LEVEL}", methods=CONTEXT,
        ),
        Stage.CHOICE,
    ),
}
# fmt: on


@pytest.mark.parametrize(("flow", "stage"), EARLY.values(), ids=EARLY)
def test_what_comes_before_it_was_asked_for_is_no_answer(flow: Flow, stage: Stage) -> None:
    """It would be taken for the answer to what is only being sent."""
    outcome = flow.run(said.glued)
    said.check(outcome, flow)
    assert (stage, OVER) in outcome.steps
    assert "asked for" in str(outcome.errors[0])


@said.in_any_cut
@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_a_flow(flow: Flow, cut: Cut) -> None:
    said.check(flow.run(cut), flow)


def test_the_flows_walk_every_way_of_the_table() -> None:
    """And no other way; octet by octet, so that each step is seen, but for what is early."""
    steps = [flow.run(said.octet_by_octet).steps for flow in FLOWS.values()]
    steps += [flow.run(said.glued).steps for flow, _ in EARLY.values()]
    assert set().union(*steps) == said.edges(CLIENT_NEXT)


@pytest.mark.parametrize(
    ("first", "hint"),
    [
        *((b"HTTP", "http://"), (b"\0", "SOCKS4"), (b"\4", "SOCKS4"), (b"SSH-2.0", "SSH")),
        *((b"\x15", "socks5s://"), (b"\x16", "socks5s://"), (b"\x7f", "octet 127")),
    ],
)
def test_the_first_octet_tells_what_it_may_be(first: bytes, hint: str) -> None:
    [rejected] = Flow("", []).machine().receive(first)
    assert isinstance(rejected, Rejected)
    assert str(rejected.error).startswith("not a SOCKS5 server: first octet ")
    assert hint in str(rejected.error)


@pytest.mark.parametrize(
    ("flow", "stage"),
    [
        (Flow("05 ff", []), METHOD),
        (Flow("05 02 01 01", [], methods=PASSWORD, pipelined=True), Stage.CHECKING),
        (Flow("05 00 05 05", [], pipelined=True), Stage.COMMAND),
    ],
)
def test_a_refusal_says_where_it_stood(flow: Flow, stage: Stage) -> None:
    [rejected] = flow.machine().receive(octets(flow.server))
    assert isinstance(rejected, Rejected)
    assert rejected.stage is stage


def test_a_client_that_could_not_send_is_not_made() -> None:
    """The mistake shows before a connection is wasted on it."""
    for address in (Address("192.0.2.1", 65536), Address(b"a" * 256, 80), Address(b"", 80)):
        with pytest.raises(LocalProtocolError):
            ClientNegotiation(Request(1, address))
    for user, password in ((256, 1), (1, 256), (0, 1)):
        with pytest.raises(LocalProtocolError):
            ClientNegotiation(
                Request(1, TARGET), PASSWORD, Credentials(b"u" * user, b"p" * password)
            )


@pytest.mark.parametrize(
    ("methods", "user", "pipelined"),
    [
        *(((), None, False), ((255,), None, False), (PASSWORD, None, False), (NOBODY, USER, False)),
        *((EITHER, USER, True), (CONTEXT, None, True)),
    ],
)
def test_methods_that_do_not_go_together_are_refused(
    methods: Sequence[int], user: Credentials | None, pipelined: bool
) -> None:
    with pytest.raises(LocalProtocolError):
        ClientNegotiation(Request(1, TARGET), methods, user, is_pipelined=pipelined)


def test_a_login_may_be_without_a_password() -> None:
    """Outside RFC 1929, and asked for everywhere."""
    machine = ClientNegotiation(Request(1, TARGET), PASSWORD, Credentials(b"u", b""))
    machine.receive(b"\5\2")
    assert machine.take_output() == octets("05 01 02 01 01 75 00")


# ---------------------------------------------------------------- every call at every stage

WAYS = {
    METHOD: Flow("", []),
    Stage.CHECKING: Flow("05 02", [], methods=EITHER),
    Stage.TOKEN: Flow("05 01", [], methods=CONTEXT, answered=0),
    Stage.CONTEXT: Flow("05 01", [], methods=CONTEXT),
    Stage.PROTECTION: Flow(f"05 01 | {DONE}", [], methods=CONTEXT),
    Stage.CHOICE: Flow(f"05 01 | {DONE} | {LEVEL}", [], methods=CONTEXT, answered=2),
    Stage.COMMAND: Flow("05 00", []),
    Stage.SECOND_REPLY: Flow(f"05 00 | {OK}", [], command=2),
    RELAY: Flow(f"05 00 | {OK}", []),
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
    use(machine, [octets(part) for part in way.server.split("|")], answered=way.answered)
    assert machine.stage is stage
    return machine


every_stage = pytest.mark.parametrize("stage", CLIENT_NEXT, ids=said.stage_names)


@pytest.mark.parametrize("call", CALLS)
@every_stage
def test_every_call_at_every_stage(stage: Stage, call: str) -> None:
    said.check_call(client_at(stage), CALLS[call], ALLOWED.get((stage, call)))


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
def test_whatever_comes_a_client_goes_on_or_ends(data: bytes, cuts: list[int], how: Flow) -> None:
    """It does not raise, and what is early is not taken for more than it is."""
    for pieces, _ in said.three_ways(data, cuts, False):
        outcome = use(how.machine(), pieces)
        assert outcome.stage in CLIENT_NEXT
        assert "secret" not in outcome.text


@given(
    from_servers, said.cut_positions, st.sampled_from([NOBODY, PASSWORD]), st.sampled_from([1, 2])
)
@settings(max_examples=400)
def test_cuts_never_change_what_a_client_does_that_said_all_at_once(
    data: bytes, cuts: list[int], methods: Sequence[int], command: int
) -> None:
    how = Flow("", [], methods=methods, command=command, pipelined=True)
    whole, other, slow = (
        use(how.machine(), pieces) for pieces, _ in said.three_ways(data, cuts, False)
    )
    assert whole == other == slow
    assert whole.details == other.details == slow.details
