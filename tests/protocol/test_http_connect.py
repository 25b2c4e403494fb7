"""CONNECT through an HTTP proxy: whole conversations, written out after RFC 9110 and 9112."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.protocol.address import Address
from socks5.protocol.client_negotiation import ReplyReceived
from socks5.protocol.errors import (
    AuthenticationFailed,
    HostUnreachable,
    LocalProtocolError,
    RemoteProtocolError,
    ReplyError,
)
from socks5.protocol.http_connect import MAX_LINES, MAX_OCTETS, HTTPConnect
from socks5.protocol.messages import Credentials, Reply
from socks5.protocol.stages import Rejected, Stage
from tests.support import negotiations as said
from tests.support.negotiations import Cut

TARGET = Address(b"www.example.org", 443)
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
DONE = ReplyReceived(Reply(0))


@dataclass(frozen=True)
class Flow:
    """What a proxy sends, and what must come of it."""

    proxy: bytes
    event: object
    trailing: bytes = b""

    def run(self, cut: Cut) -> said.Outcome:
        talk = said.Talk(HTTPConnect(TARGET))
        for piece in cut(self.proxy):
            talk.step(*talk.machine.receive(piece))
        return talk.outcome


def answer(status: object, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def long_header(octets: int) -> bytes:
    """An answer of so many octets."""
    head, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\n\r\n"
    return head + b"a" * (octets - len(head) - len(end)) + end


def many_lines(count: int) -> bytes:
    """An answer of so many lines."""
    return answer("200 OK", *["X: a"] * (count - 2))


GOOD = {
    "the usual": Flow(OK, DONE),
    "octets glued behind": Flow(OK + b"SSH-2.0", DONE, b"SSH-2.0"),
    "what looks like another answer behind": Flow(OK + OK, DONE, OK),
    "no reason": Flow(b"HTTP/1.1 200\r\n\r\n", DONE),
    "no reason, and a space": Flow(b"HTTP/1.1 200 \r\n\r\n", DONE),
    "bare LF": Flow(b"HTTP/1.0 200 OK\nA: b\n\nhello", DONE, b"hello"),
    "a body that has no octets": Flow(answer("200 OK", "Content-Length: 0") + b"x", DONE, b"x"),
    "a body that is the target's": Flow(
        answer("200 OK", "Content-Length: 5") + b"hello", DONE, b"hello"
    ),
    "chunks that are the target's": Flow(
        answer("200 OK", "Transfer-Encoding: chunked") + b"0\r\n\r\n", DONE, b"0\r\n\r\n"
    ),
    "no content": Flow(answer("204 No Content"), DONE),
    "an error that a success has": Flow(answer("200 OK", "Proxy-Status: a; error=dns_error"), DONE),
    "an interim answer": Flow(answer("100 Continue", "A: b") + OK, DONE),
    "four of them": Flow(answer("103 Early Hints") * 4 + OK + b"x", DONE, b"x"),
    "16 KiB": Flow(long_header(MAX_OCTETS) + b"x", DONE, b"x"),
    "100 lines": Flow(many_lines(MAX_LINES) + b"x", DONE, b"x"),
}

WRONG = {
    "SOCKS": b"\5\0",
    "SSH": b"SSH-2.0-x\r\n",
    "another protocol of that name": b"HTTP/2 200\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four": b"HTTP/1.1 2000 OK\r\n\r\n",
    "an empty line first": b"\r\n" + OK,
    "five interim answers": answer("103 Early Hints") * 5 + OK,
    "16 KiB and an octet": long_header(MAX_OCTETS + 1),
    "16 KiB in interim answers": answer("103 x", "X: " + "a" * 9000) * 2 + OK,
    "a line without an end": b"HTTP/1.1 200 " + b"a" * MAX_OCTETS,
    "101 lines": many_lines(MAX_LINES + 1),
}


@said.in_any_cut
@pytest.mark.parametrize("flow", GOOD.values(), ids=GOOD)
def test_an_answer_that_lets_through(flow: Flow, cut: Cut) -> None:
    outcome = flow.run(cut)
    assert outcome.events == [flow.event]
    assert (outcome.stage, outcome.trailing) == (Stage.ESTABLISHED, flow.trailing)


@said.in_any_cut
@pytest.mark.parametrize("proxy", WRONG.values(), ids=WRONG)
def test_what_is_no_answer(proxy: bytes, cut: Cut) -> None:
    outcome = Flow(proxy, None).run(cut)
    assert (outcome.events, outcome.stage) == ([RemoteProtocolError], Stage.CLOSED)
    assert "aaa" not in outcome.text


def test_socks_from_a_port_of_http_is_told() -> None:
    [event] = HTTPConnect(TARGET).receive(b"\5\0")
    assert "socks5://" in str(event.error)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((403, 2), (451, 2), (405, 7), (501, 7), (408, 6), (504, 6), (502, 4), (503, 4)),
        *((101, 1), (300, 1), (400, 1), (404, 1), (500, 1), (999, 1)),
    ],
)
def test_a_status_comes_to_a_reply(status: int, code: int) -> None:
    flow = Flow(answer(f"{status} No", "Content-Length: 5", body=b"sorry"), None)
    for cut in (said.glued, said.octet_by_octet):
        [error] = flow.run(cut).errors
        assert isinstance(error, ReplyError)
        assert (error.code, type(error)) == (code, type(ReplyError.for_code(code)))
        assert str(status) in str(error)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (["Proxy-Status: squid; error=connection_refused"], 5),
        (["proxy-status:a;error=dns_error"], 4),
        (["Proxy-Status: a; error=dns_timeout"], 4),
        (["Proxy-Status: a; error=destination_not_found"], 4),
        (["Proxy-Status: a; error=destination_ip_prohibited"], 2),
        (["Proxy-Status: a; error=http_request_denied"], 2),
        (["Proxy-Status: a; error=destination_ip_unroutable"], 3),
        (["Proxy-Status: a; error=connection_timeout; next-hop=b"], 6),
        (["Proxy-Status: a; error=proxy_internal_error"], 2),
        (["Proxy-Status: a; error=dns_error, b; error=connection_refused"], 4),
        (["Proxy-Status: a", "Proxy-Status: b; error=connection_refused"], 5),
        (["Proxy-Status: a; error=dns_error", "Proxy-Status: b; error=connection_refused"], 4),
        (['Proxy-Status: a; details="; error=dns_error"'], 2),
        (['Proxy-Status: a; details="\\"; error=dns_error'], 2),
        (['Proxy-Status: a; details="\\""; error=dns_error'], 4),
        (["X-Proxy-Status: a; error=dns_error", "no colon here"], 2),
    ],
)
def test_an_error_of_the_header_says_more_than_a_status(fields: list[str], code: int) -> None:
    """The one that the proxy next to the target says (RFC 9209)."""
    [error] = Flow(answer("403 Forbidden", *fields), None).run(said.glued).errors
    assert isinstance(error, ReplyError)
    assert error.code == code


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([], "host unreachable (status 502)"),
        (["Proxy-Status: a; error=made_up"], "host unreachable (status 502)"),
        (
            ["Proxy-Status: a; error=connection_refused"],
            "connection refused (status 502, connection_refused)",
        ),
    ],
)
def test_it_is_said_what_a_status_comes_to(fields: list[str], words: str) -> None:
    [error] = Flow(answer("502 Bad Gateway", *fields), None).run(said.glued).errors
    assert str(error) == words


def test_an_error_of_an_interim_answer_is_not_that_of_the_last() -> None:
    flow = Flow(answer("103 x", "Proxy-Status: a; error=dns_error") + answer("403 x"), None)
    [error] = flow.run(said.glued).errors
    assert isinstance(error, ReplyError)
    assert error.code == 2


@pytest.mark.parametrize("status", [401, 407])
def test_a_login_that_is_asked_for_is_one_that_was_refused(status: int) -> None:
    flow = Flow(answer(f"{status} No", "Proxy-Status: a; error=dns_error", body=b"<html>"), None)
    assert flow.run(said.glued).events == [AuthenticationFailed]


@pytest.mark.parametrize(
    ("login", "words"),
    [(Credentials(b"a", b"b"), "user name and password not accepted"), (None, "it wants a login")],
)
def test_a_login_that_is_asked_for_was_perhaps_not_given(
    login: Credentials | None, words: str
) -> None:
    machine = HTTPConnect(TARGET, login)
    [rejected] = machine.receive(answer("407 No"))
    assert isinstance(rejected, Rejected)
    assert str(rejected.error) == f"{words} (status 407)"


# ---------------------------------------------------------------- the request


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (TARGET, "www.example.org:443"),
        (Address("192.0.2.1", 80), "192.0.2.1:80"),
        (Address("2001:db8::1", 443), "[2001:db8::1]:443"),
        (Address(b"_a-B.9.", 1), "_a-B.9.:1"),
    ],
)
def test_a_request(target: Address, shown: str) -> None:
    machine = HTTPConnect(target)
    expected = f"CONNECT {shown} HTTP/1.1\r\nHost: {shown}\r\n\r\n"
    assert machine.take_output().decode() == expected
    assert machine.take_output() == b""


def test_a_request_with_a_login() -> None:
    machine = HTTPConnect(TARGET, Credentials(b"Aladdin", b"open:sesame"))
    assert machine.take_output().endswith(
        b"Host: www.example.org:443\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuOnNlc2FtZQ==\r\n\r\n"
    )


@pytest.mark.parametrize("name", [b"a\r\nb", b"a b", b"a:b", b"a/b", b"\xc3\xa9", b"a\n"])
def test_a_name_cannot_become_a_line_of_the_request(name: bytes) -> None:
    with pytest.raises(HostUnreachable):
        HTTPConnect(Address(name, 80))


@pytest.mark.parametrize(
    ("target", "login"),
    [
        (Address(b"", 80), None),
        (Address(b"a\0", 80), None),
        (Address(b"a" * 256, 80), None),
        (Address(b"a", 65536), None),
        (TARGET, Credentials(b"a:b", b"secret")),
    ],
    ids=["no name", "a zero", "a long name", "no port", "a colon"],
)
def test_what_cannot_be_asked_is_refused(target: Address, login: Credentials | None) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        HTTPConnect(target, login)
    assert "secret" not in str(caught.value)


def test_octets_behind_the_last_message_are_kept_once() -> None:
    machine = HTTPConnect(TARGET)
    machine.take_output()
    machine.receive(OK)
    said.check_trailing(machine)
    refused = HTTPConnect(TARGET)
    refused.take_output()
    refused.receive(answer("403 No"))
    said.check_closed(refused)


@given(
    st.lists(
        st.one_of(
            st.sampled_from([OK, b"HTTP/1.1 ", b"103 x\r\n", b"\r\n", b"403\n", b"A: b\r\n\r\n"]),
            st.binary(max_size=12),
        ),
        max_size=8,
    ).map(b"".join),
    said.cut_positions,
)
def test_cuts_never_change_what_comes_of_an_answer(data: bytes, cuts: list[int]) -> None:
    """And whatever comes, nothing is raised."""
    flow = Flow(data, None)
    whole = flow.run(said.glued)
    other, slow = flow.run(lambda all_: said.pieces_of(all_, cuts)), flow.run(said.octet_by_octet)
    assert whole == other == slow
    assert whole.details == other.details == slow.details


def test_a_rejection_says_where_it_stood() -> None:
    [event] = HTTPConnect(TARGET).receive(answer(403))
    assert isinstance(event, Rejected)
    assert event.stage is Stage.COMMAND
