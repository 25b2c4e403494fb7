"""GSSAPI (RFC 1961) in octets written out by hand; what is the same for every method is in test_subnegotiation.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from socks5.protocol.errors import AuthenticationFailed, LocalProtocolError, RemoteProtocolError
from socks5.protocol.gssapi import MAX_TOKEN, MAX_TOKENS, Message, MessageType
from socks5.protocol.gssapi_negotiation import GSSAPISubnegotiation
from socks5.protocol.stages import GSSAPI_NEXT, ProtectionReceived, Stage, TokenReceived
from tests.support import negotiations as said
from tests.support.negotiations import ABORTED, AGREED, ASK, BARE, DONE, LEVEL, MORE, TOKEN, Cut

CLOSED, LOGGED_IN = Stage.CLOSED, Stage.LOGGED_IN
SECRET, EMPTY = TokenReceived(b"secret"), TokenReceived(b"")
ANY_LEVEL = ProtectionReceived(b"level")


@dataclass(frozen=True)
class Flow(said.Flow):
    """The client's context is complete after so many *legs*, and its *level* will do or not."""

    legs: int = 1
    level: bool = True

    def run(self, cut: Cut, is_late: bool = False) -> said.Outcome:
        tokens = count(1)

        def answer(machine: GSSAPISubnegotiation, event: Any) -> Iterator[bytes]:
            is_level = isinstance(event, ProtectionReceived)
            if not (self.level if is_level else self.legs):
                machine.reject()
            elif is_level:
                machine.agree(b"ok")
                machine.accept()
            elif next(tokens) < self.legs:
                machine.continue_context(b"more")
            else:
                machine.complete_context(b"done")
            yield b""

        return said.converse(GSSAPISubnegotiation(), cut(said.octets(self.client)), answer, is_late)


# fmt: off
FLOWS = {
    "a context": Flow(
        f"{TOKEN} {LEVEL} {ASK}", [SECRET, ANY_LEVEL], f"{DONE} {AGREED}", LOGGED_IN, said.octets(ASK),
    ),
    "several tokens, a bare level": Flow(
        f"{TOKEN} 01 01 0000 {TOKEN} {BARE}", [SECRET, EMPTY, SECRET, ProtectionReceived(b"\0")],
        f"{MORE} {MORE} {DONE} {AGREED}", LOGGED_IN, legs=3,
    ),
    "a context that is not accepted": Flow(f"{TOKEN} {LEVEL}", [SECRET], ABORTED, legs=0),
    "a level that will not do": Flow(
        f"{TOKEN} {LEVEL} {ASK}", [SECRET, ANY_LEVEL], f"{DONE} {ABORTED}", level=False,
    ),
    "the client gives up": Flow(ABORTED, [AuthenticationFailed], ""),
    "the client gives up the level": Flow(f"{TOKEN} {ABORTED}", [SECRET, AuthenticationFailed], DONE),
    "a token of another version": Flow(ASK, [RemoteProtocolError], ABORTED),
    "a level where a token is due": Flow(LEVEL, [RemoteProtocolError], ABORTED),
    "a request where a level is due": Flow(f"{TOKEN} {ASK}", [SECRET, RemoteProtocolError], f"{DONE} {ABORTED}"),
    "endless tokens": Flow(
        f"{'01 01 0000' * (MAX_TOKENS + 1)} {LEVEL}", [*[EMPTY] * MAX_TOKENS, RemoteProtocolError],
        f"{MORE * MAX_TOKENS} {ABORTED}", legs=MAX_TOKENS + 2,
    ),
    "the token is not whole": Flow("01 01 ffff 0000", [], "", Stage.CONTEXT),
    "the level is not whole": Flow(f"{TOKEN} 01 02 00", [SECRET], DONE, Stage.PROTECTION),
}
# fmt: on


@said.every_flow(FLOWS)
def test_a_flow(flow: Flow, cut: Cut, is_late: bool) -> None:
    said.check(flow.run(cut, is_late), flow)


CALLS: dict[str, tuple[Stage, Stage, Callable[[GSSAPISubnegotiation, bytes], object]]] = {
    "continue_context": (Stage.CHECKING, Stage.CONTEXT, GSSAPISubnegotiation.continue_context),
    "complete_context": (Stage.CHECKING, Stage.PROTECTION, GSSAPISubnegotiation.complete_context),
    "agree": (Stage.CHOICE, Stage.CHOICE, GSSAPISubnegotiation.agree),
}


def machine_at(stage: Stage) -> GSSAPISubnegotiation:
    machine = GSSAPISubnegotiation()
    if stage is Stage.CLOSED:
        machine.receive(said.octets(ABORTED))
    elif stage is not Stage.CONTEXT:
        machine.receive(said.octets(TOKEN))
    if stage in (Stage.PROTECTION, Stage.CHOICE, LOGGED_IN):
        machine.complete_context(b"")
        assert machine.take_output() == said.octets("01 01 0000")  # sent even if it is empty
    if stage in (Stage.CHOICE, LOGGED_IN):
        machine.receive(said.octets(LEVEL))
    if stage is LOGGED_IN:
        machine.agree(b"ok")
        machine.accept()
    machine.take_output()
    assert machine.stage is stage
    return machine


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("stage", GSSAPI_NEXT, ids=said.stage_names)
def test_every_answer_at_every_stage(stage: Stage, call: str) -> None:
    """In its place it leads on, unless it is too long."""
    place, after, make = CALLS[call]
    is_due = after if stage is place else None
    said.check_call(machine_at(stage), lambda machine: make(machine, b"token"), is_due)
    said.check_call(machine_at(stage), lambda machine: make(machine, bytes(MAX_TOKEN + 1)), None)


def test_nobody_is_logged_in_without_a_level() -> None:
    machine = machine_at(Stage.CHOICE)
    with pytest.raises(LocalProtocolError, match="no level of protection is agreed at CHOICE"):
        machine.accept()
    assert machine.take_output() == b""


@pytest.mark.parametrize("stage", [Stage.CONTEXT, Stage.PROTECTION], ids=said.stage_names)
def test_the_longest_message_is_taken_whole_and_looked_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is gathered, the machine says so: its caller must not stop reading."""
    machine, token = machine_at(stage), bytes(MAX_TOKEN)
    kind = MessageType.CONTEXT if stage is Stage.CONTEXT else MessageType.PROTECTION
    message = Message(kind, token).encode()
    looks = said.count_looks(monkeypatch)
    for piece in (message[:4], *said.octet_by_octet(message[4:-1])):
        assert machine.receive(piece) is None
    assert machine.is_gathering
    event: Any = machine.receive(message[-1:])
    assert (event.token, looks) == (token, [4, len(message)])
    assert not machine.is_gathering
