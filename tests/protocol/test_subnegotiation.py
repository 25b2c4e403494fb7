"""What holds for every sub-negotiation, whatever the method: it is one that a server's machine can be given."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.protocol.chap_negotiation import CHAPSubnegotiation
from socks5.protocol.errors import LocalProtocolError
from socks5.protocol.gssapi_negotiation import GSSAPISubnegotiation
from socks5.protocol.password_negotiation import PasswordSubnegotiation
from socks5.protocol.stages import CHAP_NEXT, GSSAPI_NEXT, PASSWORD_NEXT, Stage
from tests.support import negotiations as said
from tests.support.negotiations import octets


@dataclass(frozen=True)
class Login:
    """A login that is accepted: the client's messages, each with the caller's answer, of which the last one accepts."""

    make: Callable[[], Any]
    messages: Sequence[str]
    answers: Sequence[Callable[[Any], object]]
    refusal: str
    table: said.Table
    wrong: Sequence[str]
    """Other messages that a client may send."""

    def begun(self, count: int) -> Any:
        """The sub-negotiation behind so many of the messages, answered; nothing is to be sent."""
        machine = self.make()
        for message, answer in zip(self.messages[:count], self.answers, strict=False):
            machine.receive(octets(message))
            answer(machine)
        machine.take_output()
        return machine

    def judge(self, rejected_at: int) -> Callable[[Any, Any], Iterator[bytes]]:
        """A caller that rejects the login at the event of that number, if it comes so far."""
        events = iter(range(len(self.answers)))

        def answer(machine: Any, event: Any) -> Iterator[bytes]:
            number = next(events)
            machine.reject() if number == rejected_at else self.answers[number](machine)
            yield b""

        return answer

    def run(
        self, pieces: Sequence[bytes], rejected_at: int = -1, is_late: bool = False
    ) -> said.Outcome:
        return said.converse(self.make(), pieces, self.judge(rejected_at), is_late)


def agree(machine: Any) -> None:
    machine.agree(b"ok")
    machine.accept()


CHAP = partial(CHAPSubnegotiation, said.CHALLENGE)
RESPONDING = f"{said.OFFER} {said.RESPONSE}"
TOKENS = [said.TOKEN, said.TOKEN, said.LEVEL]
ANSWERS = [
    lambda machine: machine.continue_context(b"more"),
    lambda machine: machine.complete_context(b"done"),
    agree,
]
ACCEPT = [lambda machine: machine.accept()]
BAD_CHAP = ["05 01 00", "01 00", f"{said.OFFER} 01 00", said.OFFER]
BAD = ["05 01 00", "01 00 00"]

LOGINS = [
    Login(PasswordSubnegotiation, [said.USER_OCTETS], ACCEPT, "01 01", PASSWORD_NEXT, BAD),
    Login(CHAP, [RESPONDING], ACCEPT, "01 01 00 01 01", CHAP_NEXT, BAD_CHAP),
    Login(GSSAPISubnegotiation, TOKENS, ANSWERS, "01 ff", GSSAPI_NEXT, ["05 01 00", "01 ff"]),
]

every_login = pytest.mark.parametrize("login", LOGINS, ids=["password", "CHAP", "GSSAPI"])


@every_login
def test_a_verdict_counts_when_it_is_awaited(login: Login) -> None:
    """At every stage: accepted only at the end, rejected only while something is checked; else nothing changes."""
    for count, message in enumerate(login.messages):
        for is_checked in (False, True):
            for verdict in ("accept", "reject"):
                machine = login.begun(count)
                machine.receive(octets(message) if is_checked else octets(message)[:-1])
                machine.take_output()
                before = (machine.stage, machine.pending)
                if is_checked and verdict == "reject":
                    machine.reject()
                    assert machine.take_output() == octets(login.refusal)
                    assert (machine.stage, machine.pending) == (Stage.CLOSED, 0)
                elif not (is_checked and len(login.messages) == 1):
                    with pytest.raises(LocalProtocolError):
                        getattr(machine, verdict)()
                    assert (machine.stage, machine.pending) == before
                    assert machine.take_output() == b""


@every_login
def test_octets_behind_it_are_given_once_and_not_before(login: Login) -> None:
    """Those that wait are not copied for each that comes; and no verdict follows another."""
    machine = login.begun(len(login.messages) - 1)
    machine.receive(octets(login.messages[-1]))
    with pytest.raises(LocalProtocolError, match="behind the last message"):
        machine.take_trailing()
    login.answers[-1](machine)
    machine.take_output()
    for verdict in (machine.accept, machine.reject):
        with pytest.raises(LocalProtocolError):
            verdict()
    assert (machine.stage, machine.take_output()) == (Stage.LOGGED_IN, b"")
    said.check_trailing(machine)
    waiting = login.begun(0)
    waiting.receive(octets(login.messages[0]))
    waiting.take_output()
    said.check_copies(waiting)


@every_login
def test_it_walks_every_way_of_its_table(login: Login) -> None:
    """And no other way; octet by octet, so that each step is seen."""
    steps = set()
    for count in range(len(login.messages) + 1):
        begun = "".join(login.messages[:count])
        for wrong in login.wrong:
            steps |= login.run(said.octet_by_octet(octets(begun + wrong))).steps
        steps |= login.run(said.octet_by_octet(octets(begun)), count - 1).steps
    assert steps == said.edges(login.table)


@given(st.sampled_from(LOGINS), st.data(), said.cut_positions, st.integers(0, 3), st.booleans())
def test_cuts_never_change_what_it_does(
    login: Login, data: st.DataObject, cuts: list[int], rejected_at: int, is_late: bool
) -> None:
    """Nor does the moment of the answers; and whatever comes, nothing is raised but the tree's."""
    said_by_client = data.draw(said.conversations(*login.messages, *login.wrong))
    whole, other, slow = (
        login.run(pieces, rejected_at, late)
        for pieces, late in said.three_ways(said_by_client, cuts, is_late)
    )
    assert whole == other == slow
    assert whole.details == other.details == slow.details
