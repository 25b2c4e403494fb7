"""What becomes of logins when a policy is replaced: of users, and of who has not asked for anything yet."""

from pathlib import Path
from typing import Any

import pytest
from twisted.cred.portal import Portal
from twisted.internet.task import Clock

from socks5 import ListenerPolicy, PasswordAuthentication, Policy
from socks5.app.sources import passwords_of, passwords_on_command_line, secrets_of
from socks5.auth import NoAuthentication, Realm, User
from socks5.policy.ruleset import Ruleset
from socks5.protocol.messages import Method
from socks5.server.rejudging import A_LOOK
from tests.support.providers import Logins
from tests.support.rules import allow, deny
from tests.support.sessions import (
    CONNECT,
    CONNECTED,
    GREETING,
    LOGIN,
    LOGIN_RIGHT,
    NO_AUTHENTICATION,
    PASSWORD_CHOSEN,
    PASSWORD_GREETING,
    Door,
    Server,
    refusal,
)

PASSWORDS = ListenerPolicy(methods=(Method.USERNAME_PASSWORD,))
EITHER = ListenerPolicy(methods=(Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION))
NONE = ListenerPolicy(methods=(Method.NO_AUTHENTICATION,))


class Known(Logins):
    """Knows a user by that name, in those groups."""

    def __init__(self, name: str = "user", *groups: str) -> None:
        super().__init__()
        self.user = User(name, frozenset(groups))

    def renew(self, user: Any) -> Any:
        return self.user if user.name == self.user.name else None


def reload(server: Server, **parts: Any) -> int:
    """How many sessions end for another policy."""
    ended: list[int] = []
    policy = Policy(settings=server.factory.settings, dialer=server.dialer, **parts)
    server.factory.replace(policy).addCallback(ended.append)
    server.reactor.advance(0)
    [count] = ended
    return count


# ---------------------------------------------------------------- who has not asked yet


def test_who_came_in_without_a_login_does_not_ask_where_one_is_needed_now() -> None:
    server = Server()
    client = server.client(GREETING)
    assert reload(server, authenticator=Known()) == 0
    client.send(CONNECT)
    assert client.received() == NO_AUTHENTICATION + refusal(2)


@pytest.mark.parametrize(("after", "may"), [(PASSWORDS, False), (EITHER, True), (NONE, True)])
def test_the_method_must_still_be_the_listeners(after: ListenerPolicy, may: bool) -> None:
    server = Server(authenticator=Known())
    door = Door(server, EITHER)
    client = door.client(GREETING)
    reload(server, authenticator=Known())
    Door(server, after).factory.succeed(door.factory)
    client.send(CONNECT)
    if may:
        server.dialer.succeed()
        server.reactor.turn()
    assert client.received() == NO_AUTHENTICATION + (CONNECTED if may else refusal(2))


@pytest.mark.parametrize(("after", "may"), [(PASSWORDS, False), (EITHER, True)])
def test_a_certificate_must_still_be_a_login(
    after: ListenerPolicy, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socks5.server.handshake.name_of", lambda transport: "anna")
    server = Server(authenticator=Known())
    for door in Door(server, EITHER), server:
        client = door.client()
        client.session.handshakeCompleted()
        client.send(GREETING)
        reload(server, authenticator=Known())
        if isinstance(door, Door):
            Door(server, after).factory.succeed(door.factory)
        client.send(CONNECT)
        is_in = may or door is server
        if is_in:
            server.dialer.succeed()
            server.reactor.turn()
        assert client.received() == NO_AUTHENTICATION + (CONNECTED if is_in else refusal(2))


@pytest.mark.parametrize(("name", "may"), [("user", True), ("other", False)])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_login_is_looked_at_again_when_it_is_used(is_late: bool, name: str, may: bool) -> None:
    """Also one that was under way, by whoever was asked before."""
    server = Server(authenticator=(before := Known()))
    client = server.client(PASSWORD_GREETING, LOGIN)
    if not is_late:
        before.accept()
    after = Known(name, "staff")
    rules = Ruleset([allow("staff", groups=["staff"])])
    ended = reload(server, authenticator=after, rules=rules)
    assert ended == (not may and not is_late)
    if is_late:
        before.accept()
    client.send(CONNECT)
    if may:
        server.dialer.succeed()
        server.reactor.turn()
        assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT + CONNECTED
    else:
        assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT + (refusal(2) if is_late else b"")


def test_a_method_of_ones_own_is_known_by_its_number() -> None:
    server = Server()
    client = server.client(GREETING)
    client.session.method = "128"
    reload(server)
    client.send(CONNECT)
    assert client.received() == NO_AUTHENTICATION + refusal(2)


def test_the_clock_reaches_who_asked_behind_a_reload() -> None:
    clock = Clock()
    clock.advance(8 * 3600)
    server = Server()
    client = server.client(GREETING)
    day = Ruleset(
        [deny("night", during=["20:00-06:00"]), allow("all")], zone="UTC", now=clock.seconds
    )
    reload(server, rules=day)
    client.send(CONNECT)
    server.dialer.succeed()
    server.reactor.turn()
    assert client.received() == NO_AUTHENTICATION + CONNECTED
    clock.advance(12 * 3600)
    server.reactor.advance(A_LOOK)
    server.reactor.advance(A_LOOK)
    assert not client.is_connected


# ---------------------------------------------------------------- users


def relaying(server: Server, logins: Logins) -> Any:
    """A client that has logged in and has its target."""
    client = server.client(PASSWORD_GREETING, LOGIN)
    logins.accept()
    client.send(CONNECT)
    server.dialer.succeed()
    server.reactor.turn()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT + CONNECTED
    return client


@pytest.mark.parametrize("after", [Known("other"), None])
def test_the_sessions_of_users_who_are_gone_end(after: Any) -> None:
    """They outlived the user (3proxy#33, #947)."""
    server = Server(authenticator=(before := Known()))
    client = relaying(server, before)
    assert reload(server, authenticator=after) == 1
    server.reactor.advance(5)
    assert not client.is_connected
    assert [(each.reason, each.detail) for each in server.records] == [
        ("reload", "reload: user user is gone")
    ]
    assert reload(server, authenticator=after) == 0


def test_who_awaits_a_reply_gets_one_when_his_user_is_gone() -> None:
    server = Server(authenticator=(before := Known()))
    client = server.client(PASSWORD_GREETING, LOGIN)
    before.accept()
    client.send(CONNECT)
    client.received()
    assert reload(server, authenticator=None) == 1
    assert (client.received(), client.sees) == (refusal(2), "end")
    assert [each.reason for each in server.records] == ["reload"]


def test_a_user_has_the_groups_of_now_for_the_rules_of_now() -> None:
    rules = Ruleset([allow("staff", groups=["staff"])])
    server = Server(authenticator=(before := Known()))
    client = relaying(server, before)
    assert reload(server, authenticator=Known("user", "staff"), rules=rules) == 0
    assert client.is_connected
    assert reload(server, authenticator=Known("user"), rules=rules) == 1


class Older:
    """A program's, that knows nothing of renewing."""

    methods = (Method.USERNAME_PASSWORD,)

    def authenticate(self, credentials: Any, client: str) -> Any:
        raise NotImplementedError


def test_users_of_whom_nobody_can_tell_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(authenticator=(before := Known()))
    client = relaying(server, before)
    assert reload(server, authenticator=Older()) == 0
    client.session.method = "gssapi"
    assert reload(server, authenticator=Known("other")) == 0
    assert client.is_connected


def test_files_know_who_is_gone_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("alice:secret\n")
    (tmp_path / "secrets").write_bytes(b"bob:secret\n\xe9t\xe9:secret\n")
    (tmp_path / "secrets").chmod(0o600)
    files = [passwords_of(str(tmp_path / "users")), secrets_of(str(tmp_path / "secrets"))]
    known = PasswordAuthentication.over(*files)
    for name in ("alice", "bob", "\\xe9t\\xe9"):
        assert known.renew(User(name, frozenset("a"))) == User(name)
    for name in ("carol", "\\xe9"):
        assert known.renew(User(name)) is None
    carol = User("carol")
    memory = passwords_on_command_line("dave:secret")
    assert PasswordAuthentication.over(*files, memory).renew(carol) is carol
    assert PasswordAuthentication(Portal(Realm(), [memory])).renew(carol) is carol
    assert NoAuthentication().renew(carol) is None


# ---------------------------------------------------------------- who has asked


@pytest.mark.parametrize(
    ("rule", "stays"), [(allow("a", listeners=["b"]), 1), (deny("a", listeners=["b"]), 0)]
)
def test_whoever_has_asked_is_of_the_listener_as_it_is_called_now(rule: Any, stays: int) -> None:
    server = Server()
    door = Door(server, ListenerPolicy(name="a"))
    door.client(GREETING, CONNECT)
    server.dialer.succeed()
    server.reactor.turn()
    policy = Policy(dialer=server.dialer, rules=Ruleset([rule, allow("c", listeners=["c"])]))
    server.factory.replace(policy, rejudge=False)
    Door(server, ListenerPolicy(name="b")).factory.succeed(door.factory)
    ended: list[int] = []
    server.factory.rejudge().addCallback(ended.append)
    server.reactor.advance(0)
    assert ended == [1 - stays]
