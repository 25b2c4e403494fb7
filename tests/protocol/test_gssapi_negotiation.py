"""GSSAPI (RFC 1961) in octets written out by hand; what is the same for every method is in test_subnegotiation.py."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from socks5.protocol.errors import AuthenticationFailed, LocalProtocolError, RemoteProtocolError
from socks5.protocol.gssapi import MAX_TOKEN, MAX_TOKENS, Message, MessageType
from socks5.protocol.gssapi_negotiation import GSSAPISubnegotiation
from socks5.protocol.stages import GSSAPI_NEXT, ProtectionReceived, Stage, TokenReceived
from tests.support.negotiations import (
    ABORTED,
    AGREED,
    BARE,
    DONE,
    LEVEL,
    MORE,
    TARGET_OCTETS,
    TOKEN,
    Cut,
    Outcome,
    at_once_or_late,
    converse,
    in_any_cut,
    octets,
    stage_names,
)

CLOSED, LOGGED_IN = Stage.CLOSED, Stage.LOGGED_IN
SECRET, ANY_LEVEL = TokenReceived(b"secret"), ProtectionReceived(b"level")
REQUEST = f"05 01 00 {TARGET_OCTETS}"


@dataclass(frozen=True)
class Flow:
    """A client's octets, and what must come of them where its context is complete after so many *legs*."""

    client: str
    events: Sequence[object]
    output: str
    stage: Stage = CLOSED
    trailing: bytes = b""
    legs: int = 1
    level: bool = True

    def run(self, cut: Cut, is_late: bool) -> Outcome:
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

        return converse(GSSAPISubnegotiation(), cut(octets(self.client)), answer, is_late)


FLOWS = {
    "a context": Flow(
        f"{TOKEN} {LEVEL} {REQUEST}",
        [SECRET, ANY_LEVEL],
        f"{DONE} {AGREED}",
        LOGGED_IN,
        octets(REQUEST),
    ),
    "several tokens, a bare level": Flow(
        f"{TOKEN} 01 01 0000 {TOKEN} {BARE}",
        [SECRET, TokenReceived(b""), SECRET, ProtectionReceived(b"\0")],
        f"{MORE} {MORE} {DONE} {AGREED}",
        LOGGED_IN,
        legs=3,
    ),
    "a context that is not accepted": Flow(f"{TOKEN} {LEVEL}", [SECRET], ABORTED, legs=0),
    "a level that will not do": Flow(
        f"{TOKEN} {LEVEL} {REQUEST}", [SECRET, ANY_LEVEL], f"{DONE} {ABORTED}", level=False
    ),
    "the client gives up": Flow(ABORTED, [AuthenticationFailed], ""),
    "the client gives up the level": Flow(
        f"{TOKEN} {ABORTED}", [SECRET, AuthenticationFailed], DONE
    ),
    "a token of another version": Flow(REQUEST, [RemoteProtocolError], ABORTED),
    "a level where a token is due": Flow(LEVEL, [RemoteProtocolError], ABORTED),
    "a request where a level is due": Flow(
        f"{TOKEN} {REQUEST}", [SECRET, RemoteProtocolError], f"{DONE} {ABORTED}"
    ),
    "endless tokens": Flow(
        f"{'01 01 0000' * (MAX_TOKENS + 1)} {LEVEL}",
        [*[TokenReceived(b"")] * MAX_TOKENS, RemoteProtocolError],
        f"{MORE * MAX_TOKENS} {ABORTED}",
        legs=MAX_TOKENS + 2,
    ),
    "the token is not whole": Flow("01 01 ffff 0000", [], "", Stage.CONTEXT),
    "the level is not whole": Flow(f"{TOKEN} 01 02 00", [SECRET], DONE, Stage.PROTECTION),
}


@in_any_cut
@at_once_or_late
@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_a_flow(flow: Flow, cut: Cut, is_late: bool) -> None:
    outcome = flow.run(cut, is_late)
    assert outcome == Outcome(list(flow.events), octets(flow.output), flow.stage, flow.trailing)


CALLS: dict[str, tuple[Stage, Stage, Callable[[GSSAPISubnegotiation, bytes], object]]] = {
    "continue_context": (Stage.CHECKING, Stage.CONTEXT, GSSAPISubnegotiation.continue_context),
    "complete_context": (Stage.CHECKING, Stage.PROTECTION, GSSAPISubnegotiation.complete_context),
    "agree": (Stage.CHOICE, Stage.CHOICE, GSSAPISubnegotiation.agree),
}


def machine_at(stage: Stage) -> GSSAPISubnegotiation:
    machine = GSSAPISubnegotiation()
    if stage is Stage.CLOSED:
        machine.receive(octets(ABORTED))
    elif stage is not Stage.CONTEXT:
        machine.receive(octets(TOKEN))
    if stage in (Stage.PROTECTION, Stage.CHOICE, LOGGED_IN):
        machine.complete_context(b"done")
    if stage in (Stage.CHOICE, LOGGED_IN):
        machine.receive(octets(LEVEL))
    if stage is LOGGED_IN:
        machine.agree(b"ok")
        machine.accept()
    machine.take_output()
    assert machine.stage is stage
    return machine


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("stage", GSSAPI_NEXT, ids=stage_names)
def test_every_answer_at_every_stage(stage: Stage, call: str) -> None:
    """In its place it leads on, unless it is too long; elsewhere it raises, and nothing has changed."""
    place, after, make = CALLS[call]
    for answer in (b"token", bytes(MAX_TOKEN + 1)):
        machine = machine_at(stage)
        if stage is place and answer == b"token":
            make(machine, answer)
            assert machine.stage is after
            continue
        with pytest.raises(LocalProtocolError):
            make(machine, answer)
        assert (machine.stage, machine.take_output()) == (stage, b"")


def test_nobody_is_logged_in_without_a_level() -> None:
    machine = machine_at(Stage.CHOICE)
    with pytest.raises(LocalProtocolError, match="no level of protection is agreed at CHOICE"):
        machine.accept()
    assert machine.take_output() == b""


def test_the_last_token_is_sent_even_if_it_is_empty() -> None:
    machine = machine_at(Stage.CHECKING)
    machine.complete_context(b"")
    assert machine.take_output() == octets("01 01 0000")


@pytest.mark.parametrize("stage", [Stage.CONTEXT, Stage.PROTECTION], ids=stage_names)
def test_the_longest_message_is_taken_whole_and_looked_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is gathered, the machine says so: its caller must not stop reading."""
    machine, token = machine_at(stage), bytes(MAX_TOKEN)
    kind = MessageType.CONTEXT if stage is Stage.CONTEXT else MessageType.PROTECTION
    message = Message(kind, token).encode()
    machine.receive(message[:4])
    looks: list[int] = []
    decode = Message.decode
    monkeypatch.setattr(
        Message, "decode", lambda buffer, kind: looks.append(len(buffer)) or decode(buffer, kind)
    )
    for at in range(4, len(message) - 1):
        assert machine.receive(message[at : at + 1]) is None
    assert machine.is_gathering
    event: Any = machine.receive(message[-1:])
    assert (event.token, looks) == (token, [len(message)])
    assert not machine.is_gathering
