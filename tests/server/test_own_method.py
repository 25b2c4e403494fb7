"""The login method of docs/embedding.rst, run: a sub-negotiation and a protection that nobody here knows."""

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from socks5.protocol.gssapi import Message, MessageType, Tokens
from tests.support.readme import blocks
from tests.support.sessions import CONNECT, CONNECTED, Server, octets

EMBEDDING = Path(__file__).parents[2] / "docs/embedding.rst"
TOKEN = b"the token of alice"
GREETING = octets("05 02 00 80")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the block defines."""
    monkeypatch.setattr("socks5.ServerFactory", lambda *_, **parameters: None)
    [block] = [each for each in blocks(EMBEDDING.read_text()) if "class WhichToken" in each.text]
    found: dict[str, Any] = {}
    exec(compile(block.text, str(EMBEDDING), "exec"), found)
    return found


def test_a_client_with_a_token_gets_everything_encrypted(names: dict[str, Any]) -> None:
    server = Server(methods=[names["Tokens"]()])
    client = server.client(GREETING, hashlib.sha256(TOKEN).digest())
    answer = client.received()
    assert answer[:3] == octets("05 80 00")
    box = names["Sealed"](hmac.digest(TOKEN, answer[3:], "sha256"))
    client.send(Message(MessageType.ENCAPSULATED, box.wrap(CONNECT + b"hello", True)).encode())
    target = server.dialer.succeed()
    server.reactor.turn()
    tokens = Tokens()
    tokens.add(client.received())
    token = tokens.next()
    assert token is not None
    assert box.unwrap(token) == (CONNECTED, True)
    assert target.value() == b"hello"
    assert client.session.access.method == "128"
    client.end()
    target.deliver_end()
    server.reactor.turn()
    [record] = server.records
    assert (record.user, record.reply) == ("alice", 0)


def test_a_client_without_one_or_without_encryption_is_turned_down(names: dict[str, Any]) -> None:
    server = Server(methods=[names["Tokens"]()])
    client = server.client(GREETING, bytes(32))
    assert client.received() == octets("05 80 01")
    plain = server.client(GREETING, hashlib.sha256(TOKEN).digest() + CONNECT)
    assert plain.received().endswith(octets("01 ff"))
    [record, of_plain] = server.records
    assert (record.user, record.detail) == (None, "AuthenticationFailed: token not accepted")
    assert of_plain.detail.startswith("RemoteProtocolError: ")
    assert (of_plain.target, of_plain.reply) == (None, None)
