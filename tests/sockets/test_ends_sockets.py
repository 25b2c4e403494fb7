"""An ordinary session, and whatever makes it go the general way: nothing that has come is lost, and nobody notices.

What its two ends have in common with every relay is in ``test_relay_sockets.py``.
"""

import errno
import gc
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5 import Settings
from socks5.access import ALLOWED, DENIED, Reason, Verdict
from socks5.deadlines import YOUNG
from socks5.interfaces import ICommand
from socks5.net.poller import READABLE, Poller
from socks5.policy.buckets import LEAST_BURST
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.policy.ruleset import Ruleset
from socks5.protocol import ordinary
from socks5.relay import metered_passing, passing
from socks5.relay.meter import BLOCK
from socks5.server.ends import ClientEnd
from tests.sockets.clients import Far, Proxy, packed
from tests.sockets.wires import Odd, raising, turn, until
from tests.support.failures import Failures
from tests.support.limited import FakeQuotas, asks
from tests.support.providers import Allow, Logins
from tests.support.rules import allow, deny
from tests.support.sessions import (
    GREETING,
    LOGIN,
    LOGIN_RIGHT,
    NO_AUTHENTICATION,
    PASSWORD_CHOSEN,
    PASSWORD_GREETING,
    refusal,
)

pytestmark = pytest.mark.parametrize("serve", ["own"], indirect=True)

CONNECT = b"\5\1\0"

BOTH_ENDS = pytest.mark.parametrize("one", ["client", "target"])

LIMITED_OR_NOT = pytest.mark.parametrize(
    "limits",
    [[], [Limit("many", sessions=9)], [Limit("high", up=1e10, down=1e10)]],
    ids=["", "counted", "metered"],
)


class Ordinary:
    """One session of a proxy."""

    def __init__(self, proxy: Proxy, receive_buffer: int | None = None) -> None:
        self.proxy = proxy
        self.client = proxy.connect(proxy.address, receive_buffer=receive_buffer)
        self.target: Any = None

    @property
    def session(self) -> Any:
        [session] = self.proxy.factory.sessions
        return session

    @property
    def end(self) -> Any:
        return self.session.transport

    @property
    def is_ordinary(self) -> bool:
        return isinstance(self.end, ClientEnd)

    async def greet(self) -> "Ordinary":
        self.client.send(GREETING)
        assert await self.client.receive(2) == NO_AUTHENTICATION
        return self

    async def log_in(self, logins: Logins) -> None:
        for message, answer in ((PASSWORD_GREETING, PASSWORD_CHOSEN), (LOGIN, LOGIN_RIGHT)):
            self.client.send(message)
            if message is LOGIN:
                await until(lambda: logins.asked)
                logins.accept()
            assert await self.client.receive(2) == answer

    async def join(
        self, said: bytes = b"", host: bytes = b"", logins: Logins | None = None
    ) -> "Ordinary":
        """A target that says something at once."""
        await (self.greet() if logins is None else self.log_in(logins))
        listening = self.proxy.listen()
        self.client.send(CONNECT + packed(host or listening.host[0], listening.host[1]))
        self.target, source = await listening.accept()
        self.target.send(said)
        assert await self.client.reply() == (0, source)
        assert await self.client.receive(len(said)) == said
        return self

    async def dial(self) -> "Ordinary":
        """A target that does not answer."""
        await self.greet()
        self.client.send(CONNECT + packed(*self.proxy.unanswering()))
        await until(lambda: self.session.command)
        assert self.is_ordinary
        return self

    def sides(self, one: str) -> tuple[Far, Far]:
        """The side named, and its peer."""
        both = (self.client, self.target)
        return both if one == "client" else both[::-1]

    async def goes_on(self) -> None:
        """Octets pass both ways."""
        self.client.send(b"up")
        self.target.send(b"down")
        assert await self.target.receive(2) == b"up"
        assert await self.client.receive(4) == b"down"

    async def over(self, reason: str) -> None:
        await self.proxy.gone()
        assert [record.reason for record in self.proxy.records] == [reason]


def ends() -> set[int]:
    """Those of clients that there are in this process."""
    return {id(each) for each in gc.get_objects() if isinstance(each, ClientEnd)}


def under(*limits: Limit, **parameters: Any) -> Limits | None:
    """Limits of every session."""
    return Limits(limits, server=[each.name for each in limits], **parameters) if limits else None


def once(error: Exception, then: Callable[..., Any]) -> Callable[..., Any]:
    """Raises at the first call."""
    errors = [error]

    def method(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return then(*arguments)

    return method


Replace = Callable[[str, Any, Callable[..., Any]], None]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Have a system call on an end's socket do something else."""

    def replace_call(name: str, end: Any, call: Callable[..., Any]) -> None:
        real, fd = getattr(passing, name), end.fd
        for module in (passing, metered_passing):
            monkeypatch.setattr(
                module, name, lambda at, what: (call if at == fd else real)(at, what)
            )

    return replace_call


# ---------------------------------------------------------------- joined


@pytest_twisted.ensureDeferred
async def test_it_is_its_own_command_and_counts(serve: Any) -> None:
    ordinary = await Ordinary(await serve()).join()
    await ordinary.goes_on()
    end = ordinary.end
    assert ordinary.is_ordinary
    assert verifyObject(ICommand, end.peer)
    assert ordinary.session.command is end.peer
    info = ordinary.session.info()
    assert (info.bytes_up, info.bytes_down, info.dropped) == (2, 4, 0)
    assert str(end.peer.far) == info.target
    for each in (end, end.peer):
        each.ready(READABLE)  # for nothing
    assert end.peer.client_ended() is False
    assert ordinary.is_ordinary


@pytest.mark.parametrize("host", [b"", b"localhost"])
@pytest_twisted.ensureDeferred
async def test_a_target_that_speaks_first(serve: Any, host: bytes) -> None:
    """A name has more than one address, so it is no ordinary target."""
    ordinary = await Ordinary(await serve()).join(b"220 hello", host)
    await ordinary.goes_on()
    assert ordinary.is_ordinary is not bool(host)


@pytest_twisted.ensureDeferred
async def test_who_has_logged_in_is_as_ordinary_as_anybody(serve: Any) -> None:
    logins = Logins()
    ordinary = await Ordinary(await serve(authenticator=logins)).join(logins=logins)
    await ordinary.goes_on()
    assert ordinary.is_ordinary
    assert ordinary.session.info().user == "user"


@pytest.mark.parametrize("source", [(), ("127.0.0.2",), ("accepted",)])
@pytest_twisted.ensureDeferred
async def test_whom_a_rule_allows_is_ordinary_unless_it_has_to_leave_from_somewhere(
    serve: Any, source: tuple[str, ...]
) -> None:
    rules = Ruleset([deny("mail", ports=[25]), allow("all", source=source)])
    ordinary = await Ordinary(await serve(rules=rules)).join()
    await ordinary.goes_on()
    assert ordinary.is_ordinary is not bool(source)
    near = ordinary.session.info().bound.rpartition(":")[0]
    assert near == ("127.0.0.2" if "127.0.0.2" in source else "127.0.0.1")
    assert ordinary.session.access.rule == "all"


@LIMITED_OR_NOT
@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_a_reset_is_passed_on_at_once_where_everything_has_arrived(
    serve: Any, one: str, limits: list[Limit]
) -> None:
    rules = Allow(lambda *_: Verdict(True, "for all"))
    ordinary = await Ordinary(await serve(rules=rules, limits=under(*limits))).join()
    await ordinary.goes_on()
    breaks, other = ordinary.sides(one)
    breaks.reset()
    await until(lambda: other.sees_now() == "reset")
    await ordinary.over(f"reset by {one}")
    [record] = ordinary.proxy.records
    assert (record.bytes_up, record.bytes_down, record.rule) == (2, 4, "for all")


@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_a_reset_waits_for_octets_that_are_still_on_their_way(serve: Any, one: str) -> None:
    ordinary = await Ordinary(await serve()).join()
    sender, reader = ordinary.sides(one)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
    info = ordinary.session.info
    sent = b""
    for number in range(8):
        sent += bytes([number]) * 20_000
        sender.send(sent[-20_000:])
        await until(lambda octets=20_000 * number: octets < info().bytes_up + info().bytes_down)
    assert ordinary.is_ordinary
    sender.reset()
    await until(lambda: not ordinary.is_ordinary)
    assert await reader.rest() == sent
    assert reader.sees == "reset"
    await ordinary.over(f"reset by {one}")


@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_one_direction_ends_and_the_other_goes_on_but_not_in_silence(
    serve: Any, one: str
) -> None:
    clock = Clock()
    ordinary = await Ordinary(await serve(Settings(linger_timeout=60), clock=clock)).join()
    ends, other = ordinary.sides(one)
    ends.send(b"last")
    ends.end()
    assert await other.rest() == b"last"
    for _ in range(3):
        clock.pump([15] * 3)
        other.send(b"more")
        assert await ends.receive(4) == b"more"
    ordinary.end.ready(READABLE)  # an end may be said again
    assert ordinary.is_ordinary
    clock.pump([15] * 6)
    await until(lambda: ends.sees_now() == "reset")
    await ordinary.over(Reason.HALF_CLOSED)


@LIMITED_OR_NOT
@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_a_reset_behind_an_end_is_seen(serve: Any, one: str, limits: list[Limit]) -> None:
    ordinary = await Ordinary(await serve(limits=under(*limits))).join()
    ends, other = ordinary.sides(one)
    ends.end()
    await until(other.sees_now)
    ends.reset()
    await ordinary.over(f"reset by {one}")


@pytest_twisted.ensureDeferred
async def test_who_reads_slowly_is_not_silent(serve: Any) -> None:
    clock = Clock()
    proxy = await serve(Settings(linger_timeout=60), clock=clock)
    ordinary = await Ordinary(proxy, receive_buffer=4096).join()
    ordinary.client.end()
    await until(ordinary.target.sees_now)
    for count in range(1, 9):
        ordinary.target.send(bytes(20_000))
        await until(lambda count=count: ordinary.session.info().bytes_down == count * 20_000)
    assert ordinary.is_ordinary
    while len(ordinary.client.octets) < 160_000:
        await until(lambda: ordinary.client.read(4096))
        clock.advance(15)
    assert ordinary.proxy.records == []


@pytest_twisted.ensureDeferred
async def test_it_leaves_no_circle_to_the_collector(serve: Any) -> None:
    proxy = await serve()
    gc.collect()
    gc.disable()
    before = ends()
    try:
        ordinary = await Ordinary(proxy).join()
        ordinary.client.end()
        await until(ordinary.target.sees_now)
        ordinary.target.end()
        await ordinary.over(Reason.TARGET_CLOSED)
        assert ends() <= before
    finally:
        gc.enable()


@LIMITED_OR_NOT
@pytest_twisted.ensureDeferred
async def test_an_end_behind_many_reads_keeps_nobody_waiting(
    serve: Any, instead: Replace, limits: list[Limit]
) -> None:
    ordinary = await Ordinary(await serve(limits=under(*limits))).join()
    instead("readv", ordinary.end, lambda fd, buffers: os.readv(fd, [buffers[0][:1]]))
    ordinary.client.send(b"octets")
    ordinary.client.end()
    assert await ordinary.target.rest() == b"octets"
    assert not ordinary.is_ordinary


@LIMITED_OR_NOT
@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_an_end_that_cannot_be_passed_on(serve: Any, one: str, limits: list[Limit]) -> None:
    ordinary = await Ordinary(await serve(limits=under(*limits))).join()
    end = ordinary.end.peer if one == "client" else ordinary.end
    end.socket = Odd(end.socket, shutdown=raising(OSError()))
    ends, other = ordinary.sides(one)
    ends.end()
    await until(other.sees_now)
    await ordinary.over("reset by target" if one == "client" else "reset by client")


@LIMITED_OR_NOT
@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_a_kernel_that_takes_no_more_is_asked_again(
    serve: Any, instead: Replace, one: str, limits: list[Limit]
) -> None:
    ordinary = await Ordinary(await serve(limits=under(*limits))).join()
    end = ordinary.end if one == "target" else ordinary.end.peer
    instead("write", end, once(BlockingIOError(), os.write))
    await ordinary.goes_on()
    assert not ordinary.is_ordinary


@LIMITED_OR_NOT
@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_who_cannot_be_sent_to_any_more_was_reset(
    serve: Any, instead: Replace, one: str, limits: list[Limit]
) -> None:
    ordinary = await Ordinary(await serve(limits=under(*limits))).join()
    end = ordinary.end if one == "client" else ordinary.end.peer
    instead("write", end, raising(BrokenPipeError()))
    _, sender = ordinary.sides(one)
    sender.send(b"into the void")
    await until(lambda: sender.sees_now() == "reset")
    await ordinary.over(f"reset by {one}")


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("is_allowed", [False, True])
@pytest_twisted.ensureDeferred
async def test_new_rules_hold_for_it(serve: Any, is_allowed: bool, later: bool) -> None:
    proxy = await serve()
    ordinary = await Ordinary(proxy).join()
    verdict = ALLOWED if is_allowed else DENIED
    rules = Allow(
        lambda _, address: (succeed(verdict) if later else verdict) if address else ALLOWED
    )
    ended = proxy.factory.replace(replace(proxy.factory.policy, rules=rules))
    await until(lambda: ended.called)
    if is_allowed:
        await ordinary.goes_on()
        assert ordinary.is_ordinary
    else:
        await ordinary.over(Reason.NOT_ALLOWED)
    assert rules.asked[-1][1] == "127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_it_is_judged_again_as_what_it_is_by_then(serve: Any) -> None:
    """It goes the general way before the verdict comes."""
    proxy = await serve()
    ordinary = await Ordinary(proxy).join()
    verdict: Deferred[Any] = Deferred()
    rules = Allow(lambda _, address: ALLOWED if address else verdict)
    ended = proxy.factory.replace(replace(proxy.factory.policy, rules=rules))
    await until(lambda: rules.asked)
    ordinary.client.send(bytes(1 << 18))
    await until(lambda: ordinary.target.count == 1 << 18)
    assert not ordinary.is_ordinary
    verdict.callback(ALLOWED)
    await until(lambda: ended.called)
    assert ordinary.session.is_over is False


@pytest_twisted.ensureDeferred
async def test_one_whose_target_was_reset_just_now_is_not_judged(serve: Any) -> None:
    ordinary = await Ordinary(await serve()).join()
    ordinary.target.reset()
    assert ordinary.session.command.rejudge() is True
    await ordinary.over("reset by target")


@pytest_twisted.ensureDeferred
async def test_one_whose_client_was_reset_just_now_can_be_listed(serve: Any) -> None:
    ordinary = await Ordinary(await serve(access_log=None)).join()
    client, session = str(ordinary.end.far), ordinary.session
    assert session.info().client == client
    ordinary.client.reset()
    assert session.info().client == "127.0.0.1"
    await ordinary.proxy.gone()


@pytest_twisted.ensureDeferred
async def test_of_one_that_lasts_the_system_asks_whether_the_target_is_there(serve: Any) -> None:
    clock = Clock()
    ordinary = await Ordinary(await serve(clock=clock)).join()
    sock = ordinary.end.peer.socket
    clock.pump([YOUNG] * 2)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert ordinary.is_ordinary


@pytest.mark.parametrize("settings", [Settings(idle_timeout=60), Settings(keepalive=0)])
@pytest_twisted.ensureDeferred
async def test_what_is_to_be_watched_for_silence_has_a_relay(
    serve: Any, settings: Settings
) -> None:
    clock = Clock()
    ordinary = await Ordinary(await serve(settings, clock=clock)).join()
    await ordinary.goes_on()
    assert ordinary.is_ordinary is (settings.idle_timeout == 0)
    clock.pump([15] * 5)
    if not ordinary.proxy.records:
        await ordinary.goes_on()
    else:
        await ordinary.over(Reason.IDLE)


@LIMITED_OR_NOT
@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_a_bug_ends_the_session_alone(
    serve: Any, failures: Failures, instead: Replace, one: str, limits: list[Limit]
) -> None:
    ordinary = await Ordinary(await serve(limits=under(*limits))).join()
    end = ordinary.end if one == "client" else ordinary.end.peer
    instead("readv", end, raising(ZeroDivisionError("a bug")))
    ordinary.sides(one)[0].send(b"x")
    for each in (ordinary.client, ordinary.target):
        await until(each.sees_now)
    await ordinary.over(Reason.CRASHED)
    assert failures.take(ZeroDivisionError) == ["a bug"]


# ---------------------------------------------------------------- metered


@pytest_twisted.ensureDeferred
async def test_what_is_metered_is_charged_at_its_end_at_the_latest(serve: Any) -> None:
    quotas = FakeQuotas()
    limits = under(Limit("month", quota=(10**9, "month")), quotas=quotas)
    ordinary = await Ordinary(await serve(limits=limits)).join()
    await ordinary.goes_on()
    end = ordinary.end
    for each in (end, end.peer):
        end.poller.again(each.fd)  # for nothing
    await turn()
    assert ordinary.is_ordinary
    [used] = quotas.used.values()
    assert used.octets == 0
    ordinary.client.reset()
    await ordinary.over(Reason.CLIENT_RESET)
    assert used.octets == 6


@BOTH_ENDS
@pytest.mark.parametrize("more", [0, 3 * BLOCK])
@pytest_twisted.ensureDeferred
async def test_small_messages_are_charged_by_blocks(serve: Any, one: str, more: int) -> None:
    """And what is left over at the end, whichever way that comes."""
    quotas = FakeQuotas()
    limits = under(Limit("month", quota=(10**9, "month")), quotas=quotas)
    ordinary = await Ordinary(await serve(limits=limits)).join()
    sender, reader = ordinary.sides(one)
    [used] = quotas.used.values()
    for count in range(1, 8):
        sender.send(bytes(BLOCK // 3))
        await reader.receive(BLOCK // 3)
        assert used.octets == count * (BLOCK // 3) // BLOCK * BLOCK
    assert ordinary.is_ordinary
    sender.send(bytes(more))
    await reader.receive(more)
    assert ordinary.is_ordinary is not bool(more)
    ordinary.client.reset()
    await ordinary.over(Reason.CLIENT_RESET)
    assert used.octets == 7 * (BLOCK // 3) + more


@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_what_is_metered_is_read_up_to_its_end(serve: Any, one: str) -> None:
    ordinary = await Ordinary(await serve(limits=under(Limit("high", total=1e10)))).join()
    ends, other = ordinary.sides(one)
    ends.send(bytes(BLOCK - 1))
    ends.end()
    assert await other.rest() == bytes(BLOCK - 1)
    assert ordinary.is_ordinary


@BOTH_ENDS
@pytest_twisted.ensureDeferred
async def test_no_more_is_received_than_is_charged_together(serve: Any, one: str) -> None:
    clock = Clock()
    limits = under(Limit("slow", total=10_000.0), clock=clock)
    assert limits is not None
    other = limits.enter(asks())
    assert other is not None
    ordinary = await Ordinary(await serve(clock=clock, limits=limits)).join()
    other.moved(LEAST_BURST + 10_000, 0)
    sender, reader = ordinary.sides(one)
    sender.send(bytes(BLOCK + 10))
    assert await reader.receive(BLOCK) == bytes(BLOCK)
    await turn()
    assert not ordinary.is_ordinary
    assert not reader.read(1)
    clock.advance(1.5)
    assert await reader.receive(10) == bytes(10)


# ---------------------------------------------------------------- dialling


@pytest.mark.parametrize("early", [b"", b"early"])
@pytest_twisted.ensureDeferred
async def test_a_target_that_does_not_answer_in_time(serve: Any, early: bytes) -> None:
    clock = Clock()
    ordinary = await Ordinary(await serve(clock=clock)).dial()
    ordinary.client.send(early)
    await until(lambda: ordinary.is_ordinary is not bool(early))
    assert ordinary.session.command.bytes_down == 0
    clock.advance(Settings().connect_timeout)
    assert await ordinary.client.rest() == refusal(6)


@pytest_twisted.ensureDeferred
async def test_early_octets_go_first(serve: Any) -> None:
    """They come while the target is dialled, which has its answer only when the system asks once more."""
    proxy = await serve()
    ordinary = await Ordinary(proxy).dial()
    ordinary.client.send(b"early ")
    await until(lambda: not ordinary.is_ordinary)
    listening = proxy.answering()
    await listening.accept()  # who was before us
    ordinary.target, source = await listening.accept()
    assert await ordinary.client.reply() == (0, source)
    assert await ordinary.target.receive(6) == b"early "
    await ordinary.goes_on()


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("is_allowed", [False, True])
@pytest_twisted.ensureDeferred
async def test_the_verdict_on_the_address(serve: Any, is_allowed: bool, later: bool) -> None:
    """It is asked for once, whenever it comes."""
    verdict: Any = ALLOWED if is_allowed else DENIED
    answer: Any = Deferred() if later else verdict
    rules = Allow(lambda access, address: answer if address else ALLOWED)
    proxy = await serve(rules=rules)
    ordinary = await Ordinary(proxy).greet()
    listening = proxy.listen()
    ordinary.client.send(CONNECT + packed(*listening.host))
    await until(lambda: len(rules.asked) == 2)
    if later:
        assert not ordinary.is_ordinary
        answer.callback(verdict)
    if is_allowed:
        ordinary.target, source = await listening.accept()
        assert await ordinary.client.reply() == (0, source)
        await ordinary.goes_on()
    else:
        assert await ordinary.client.rest() == refusal(2)
    assert len(rules.asked) == 2


@pytest_twisted.ensureDeferred
async def test_a_bug_is_answered_and_closes_the_target(
    serve: Any, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is dialled, and in the reply."""
    dialling = await Ordinary(await serve()).dial()
    dialling.end.target.crashed(Failure(ZeroDivisionError("a bug")))
    assert await dialling.client.rest() == refusal(1)
    dialling.client.close()
    await dialling.over(Reason.CRASHED)
    monkeypatch.setattr(ordinary, "success_from", raising(ZeroDivisionError("a bug")))
    proxy = await serve()
    session = await Ordinary(proxy).greet()
    listening = proxy.listen()
    session.client.send(CONNECT + packed(*listening.host))
    target, _ = await listening.accept()
    assert await session.client.rest() == refusal(1)
    await until(target.sees_now)
    session.client.close()
    await session.over(Reason.CRASHED)
    assert failures.take(ZeroDivisionError) == ["a bug"] * 2


# ---------------------------------------------------------------- the negotiation


def later(sock: Any, taken: int) -> Any:
    """A socket that takes so many octets at first."""

    def send(data: bytes) -> int:
        del odd.__dict__["send"]
        if not taken:
            raise BlockingIOError
        return int(sock.send(data[:taken]))

    odd = Odd(sock, send=send)
    return odd


@pytest.mark.parametrize("taken", [0, 1])
@pytest_twisted.ensureDeferred
async def test_answers_arrive_though_the_kernel_takes_them_later(serve: Any, taken: int) -> None:
    """Of the greeting, and the reply."""
    ordinary = Ordinary(await serve())
    await until(lambda: len(ordinary.proxy.factory.sessions))
    ordinary.end.ready(READABLE)  # for nothing
    ordinary.end.socket = later(ordinary.end.socket, taken)
    await ordinary.join()
    await ordinary.goes_on()
    second = Ordinary(ordinary.proxy)
    await second.greet()
    end = next(reversed([*ordinary.proxy.factory.sessions])).transport  # type: ignore[attr-defined]
    assert isinstance(end, ClientEnd)
    end.socket = later(end.socket, taken)
    listening = second.proxy.listen()
    second.client.send(CONNECT + packed(*listening.host))
    second.target, source = await listening.accept()
    assert await second.client.reply() == (0, source)
    await second.goes_on()


@pytest_twisted.ensureDeferred
async def test_enough_waits_behind_a_login(serve: Any) -> None:
    """Then the client is read no further, until there is a verdict."""
    logins = Logins()
    proxy = await serve(Settings(max_optimistic=4, ban_after=0), authenticator=logins)
    ordinary = Ordinary(proxy)
    ordinary.client.send(PASSWORD_GREETING + LOGIN + CONNECT)
    await until(lambda: logins.asked)
    ordinary.client.send(b"\1\x7f\0\0\1\0")
    await until(lambda: not ordinary.is_ordinary)
    for _ in range(5):
        await turn()
    assert ordinary.session.is_reading is False
    logins.accept()
    listening = proxy.listen()
    ordinary.client.send(listening.host[1].to_bytes(2, "big")[1:])
    assert await ordinary.client.receive(4) == b"\5\2\1\0"


@pytest_twisted.ensureDeferred
async def test_a_system_that_watches_no_more_sockets_costs_nobody_else_anything(
    serve: Any, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await serve()
    with monkeypatch.context() as patch:
        patch.setattr(Poller, "add", raising(OSError(errno.ENOSPC, "max_user_watches")))
        ordinary = Ordinary(proxy)
        await until(lambda: ordinary.client.sees_now() == "reset")
    assert len(failures.take(OSError)) == 1
    assert len(proxy.factory.sessions) == 0
    await (await Ordinary(proxy).join()).goes_on()


# ---------------------------------------------------------------- at any time


@pytest.mark.parametrize("stage", [Ordinary.greet, Ordinary.dial, Ordinary.join])
@pytest.mark.parametrize("within", [0.0, 2.0])
@pytest_twisted.ensureDeferred
async def test_it_is_closed_from_outside(serve: Any, stage: Any, within: float) -> None:
    ordinary = await stage(Ordinary(await serve()))
    stays = ordinary.proxy.factory.replace(ordinary.proxy.factory.policy)
    await until(lambda: stays.called)
    ordinary.session.close(within=within)
    for each in filter(None, (ordinary.client, ordinary.target)):
        await until(each.sees_now)
    is_orderly = within or stage is Ordinary.dial  # that has nothing to be forced
    assert ordinary.client.sees == ("end" if is_orderly else "reset")
    await ordinary.over(Reason.KICKED)


@pytest.mark.parametrize("stage", [Ordinary.greet, Ordinary.dial])
@pytest.mark.parametrize(
    ("leave", "reason"), [(Far.end, "client closed"), (Far.reset, "reset by client")]
)
@pytest_twisted.ensureDeferred
async def test_a_client_leaves(serve: Any, stage: Any, leave: Any, reason: str) -> None:
    ordinary = await stage(Ordinary(await serve()))
    leave(ordinary.client)
    await ordinary.over(reason)


@pytest.mark.parametrize(
    ("recv", "reason"),
    [(lambda octets: b"", "client closed"), (raising(ConnectionResetError()), "reset by client")],
)
@pytest_twisted.ensureDeferred
async def test_a_client_leaves_between_the_poller_s_look_and_ours(
    serve: Any, recv: Any, reason: str
) -> None:
    ordinary = await Ordinary(await serve()).greet()
    ordinary.end.socket = Odd(ordinary.end.socket, recv=recv)
    ordinary.end.ready(READABLE)
    ordinary.client.end()
    await ordinary.over(reason)


@pytest.mark.parametrize("stage", [Ordinary.greet, Ordinary.dial, Ordinary.join])
@pytest_twisted.ensureDeferred
async def test_its_transport_is_one_at_any_time(serve: Any, stage: Any) -> None:
    ordinary = await stage(Ordinary(await serve()))
    ordinary.end.abortConnection()
    for each in filter(None, (ordinary.client, ordinary.target)):
        await until(lambda each=each: each.sees_now() == "reset")
    await ordinary.over("reset by client")
