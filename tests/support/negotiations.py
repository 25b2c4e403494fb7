"""Conversations with the machines of socks5/protocol: a peer's octets, however they are cut, and all that the caller
sees of what comes of them.

A flow has everything that the peer sends in one piece of hexadecimal; each runs glued and octet by octet, with empty
pieces between or not, and the caller answers at once or as late as it can. Nothing of this may change the outcome.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import strategies as st

from socks5.protocol.address import Address
from socks5.protocol.errors import LocalProtocolError, RemoteProtocolError, SOCKSError
from socks5.protocol.gssapi import Message, MessageType
from socks5.protocol.messages import Credentials
from socks5.protocol.stages import Rejected, Stage

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
HELLO = "68656c6c6f"

USER = Credentials(b"user", b"secret")
USER_OCTETS = "01 04 75736572 06 736563726574"

# Tokens are opaque to the machines, so that anything will do.
TOKEN, MORE, DONE, LEVEL, BARE, AGREED, ABORTED = (
    "01 01 0006 7365637265 74",
    "01 01 0004 6d6f7265",
    "01 01 0004 646f6e65",
    "01 02 0005 6c6576656c",
    "01 02 0001 00",
    "01 02 0002 6f6b",
    "01 ff",
)

CHALLENGE = b"a challenge of 24 octets"
OUR_CHALLENGE = "01 02 11 01 85 03 18 " + CHALLENGE.hex()
OFFER, RESPONSE = "01 02 11 01 85 02 04 75736572", "01 01 04 05 7269676874"


def refused(code: int) -> str:
    """A failure reply, which carries no address."""
    return f"05 {code:02x} 00 {NOWHERE_OCTETS}"


# ---------------------------------------------------------------- how octets come in pieces


def glued(data: bytes) -> list[bytes]:
    return [data]


def octet_by_octet(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def with_empty_pieces(data: bytes) -> list[bytes]:
    return [b"", *(piece for octet in octet_by_octet(data) for piece in (octet, b""))]


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(at)]


def three_ways(data: bytes, cuts: Iterable[int], is_late: bool) -> list[tuple[list[bytes], bool]]:
    """In one piece, in these pieces, and octet by octet; whether it is answered late."""
    return [([data], False), (pieces_of(data, cuts), is_late), (octet_by_octet(data), False)]


Cut = Callable[[bytes], list[bytes]]
in_any_cut = pytest.mark.parametrize(
    "cut",
    [glued, octet_by_octet, with_empty_pieces],
    ids=lambda cut: cut.__name__,
)
cut_positions = st.lists(st.integers(1, 120), max_size=12)
at_once_or_late = pytest.mark.parametrize(
    "is_late", [False, True], ids=["answered at once", "answered late"]
)


def conversations(*known: str) -> st.SearchStrategy[bytes]:
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


# ---------------------------------------------------------------- what comes of it


@dataclass
class Outcome:
    """All that a caller sees of a conversation. A refusal stands as the type of its error."""

    events: list[object]
    output: bytes
    stage: Stage
    trailing: bytes = b""
    errors: list[SOCKSError] = field(default_factory=list, compare=False)
    stages: list[Stage] = field(default_factory=list, compare=False)

    @property
    def details(self) -> object:
        """What comparing alone leaves out: the texts and the numbers of the errors."""
        numbers = [(getattr(e, "code", None), getattr(e, "reply", None)) for e in self.errors]
        return self.events, [str(error) for error in self.errors], numbers

    @property
    def text(self) -> str:
        """All that could show a secret."""
        errors = [*self.errors, *(e.__cause__ or e.__context__ for e in self.errors)]
        return repr(self.events) + "".join(str(error) + repr(error) for error in errors)

    @property
    def steps(self) -> set[tuple[Stage, Stage]]:
        """From which stage to which it went."""
        return {(here, there) for here, there in pairwise(self.stages) if here is not there}


class Talk:
    """One conversation as its caller has it. Ends as :attr:`outcome`."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.events: list[object] = []
        self._output = b""
        self._stages: list[Stage] = [machine.stage]
        self.step()

    def step(self, *events: object) -> None:
        """Something happened: take what there is to send."""
        self.events.extend(event for event in events if event is not None)
        self._output += self.machine.take_output()
        self._stages.append(self.machine.stage)

    @property
    def outcome(self) -> Outcome:
        is_over = self.machine.stage in (Stage.ESTABLISHED, Stage.LOGGED_IN)
        errors = [event.error for event in self.events if isinstance(event, Rejected)]
        return Outcome(
            [type(each.error) if isinstance(each, Rejected) else each for each in self.events],
            self._output,
            self.machine.stage,
            self.machine.take_trailing() if is_over else b"",
            errors,
            self._stages,
        )


Answer = Callable[[Any, Any], Iterator[bytes]]
"""Answers a machine's event, in steps; each gives octets to the machine."""


def converse(
    machine: Any, pieces: Iterable[bytes], answer: Answer, is_late: bool = False
) -> Outcome:
    """Be the caller of a server, or of a sub-negotiation: answer each event at once, or only when all octets are in."""
    talk = Talk(machine)
    unanswered: list[object] = []

    def take(data: bytes) -> None:
        try:
            event = machine.receive(data)
        except RemoteProtocolError as error:
            event = Rejected(error)
        talk.step(event)
        unanswered.extend([] if event is None or isinstance(event, Rejected) else [event])

    def answer_all() -> None:
        while unanswered:
            for back in answer(machine, unanswered.pop(0)):
                talk.step()
                take(back)

    for piece in pieces:
        take(piece)
        if not is_late:
            answer_all()
    answer_all()
    return talk.outcome


@dataclass(frozen=True)
class Flow:
    """What a client says to a sub-negotiation, and what must come of it."""

    client: str
    events: Sequence[object]
    output: str
    stage: Stage = Stage.CLOSED
    trailing: bytes = b""


def check(outcome: Outcome, flow: Any) -> None:
    """It is what the flow says, and shows no secret."""
    assert outcome == Outcome(list(flow.events), octets(flow.output), flow.stage, flow.trailing)
    assert "secret" not in outcome.text


def every_flow(flows: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Marks a test that takes a flow, a cut and whether it is answered late."""

    def mark(test: Any) -> Any:
        parameters = pytest.mark.parametrize("flow", flows.values(), ids=flows)
        return in_any_cut(at_once_or_late(parameters(test)))

    return mark


Table = Mapping[Stage, frozenset[Stage]]


def edges(table: Table) -> set[tuple[Stage, Stage]]:
    """Every step that a table allows."""
    return {(stage, following) for stage, all_of in table.items() for following in all_of}


def stage_names(value: object) -> str | None:
    return value.name if isinstance(value, Stage) else None


# ---------------------------------------------------------------- what holds for every machine


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


def check_trailing(machine: Any) -> None:
    """At its last stage, octets are given once."""
    machine.receive(b"one ")
    machine.receive(b"two")
    assert (machine.pending, machine.take_trailing()) == (7, b"one two")
    assert (machine.pending, machine.take_trailing()) == (0, b"")
    machine.receive(b"three")
    assert machine.take_trailing() == b"three"


def check_closed(machine: Any) -> None:
    """Nobody will ever take them, and a peer may send on while the connection is being closed."""
    for piece in (b"\x05\x01\x00", b"\x04", b"", b"x" * 1000):
        assert not machine.receive(piece)
    assert (machine.stage, machine.pending, machine.take_output()) == (Stage.CLOSED, 0, b"")


class _Octet(bytes):
    """One that counts what is copied to put it behind others, which would be all that wait."""

    copied = 0

    def __radd__(self, before: bytes) -> bytes:
        _Octet.copied += len(before)
        return before + bytes(self)


def check_copies(machine: Any) -> None:
    """However much they look like a message, octets gather that nobody looks at, and each is copied once."""
    stage, before, many = machine.stage, machine.pending, 4096
    _Octet.copied = 0
    for _ in range(many):
        assert not machine.receive(_Octet(b"\x05"))
    assert (machine.stage, machine.pending) == (stage, before + many)
    assert machine.take_output() == b""
    assert _Octet.copied <= many


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many octets wait at each look at one of RFC 1961's messages, from now on."""
    looks: list[int] = []
    decode = Message.decode

    def look(buffer: bytes, expected: MessageType) -> Any:
        looks.append(len(buffer))
        return decode(buffer, expected)

    monkeypatch.setattr(Message, "decode", look)
    return looks
