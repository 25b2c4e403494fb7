"""What a factory is given, in memory: a resolver, a dialer, rules, an access log ...; a test gives the answers."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from typing_extensions import override
from zope.interface import implementer

from socks5.access import ALLOWED, Access, IUser, Reason, SessionInfo, Verdict
from socks5.auth import User
from socks5.interfaces import IAccessLog, ICommand, IDatagrams, IResolver, IRules, ISession, Judge
from socks5.logins import IAuthenticator, IBans
from socks5.outbound.direct import DirectDialer
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Credentials, Method
from socks5.settings import Settings
from socks5.streams import IStream
from tests.support.reactor import OUTGOING
from tests.support.transports import CLIENT, SERVER, FakeTransport, address, fake_stream

ASKER = Access(CLIENT.host, SERVER.host, None, Command.CONNECT, Address(b"example.org", 80))
"""Somebody who asks for a target, as a dialer is told."""


@implementer(IResolver)
class FakeResolver:
    """Answers from ``answers`` at once; other names wait for :meth:`answer`.

    ``asked`` holds every name asked for, ``askers`` the client of each, ``cancelled`` those whose asker left,
    ``distrusted`` those whose addresses were said not to work.

    :param answers: IP literals, or an exception, for each name.
    """

    def __init__(self, answers: dict[bytes, Any] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[bytes] = []
        self.askers: list[str] = []
        self.cancelled: list[bytes] = []
        self.distrusted: list[bytes] = []
        self._waiting: list[tuple[bytes, Deferred[Sequence[str]]]] = []

    def resolve(self, name: bytes, client: str) -> Deferred[Sequence[str]]:
        self.asked.append(name)
        self.askers.append(client)
        known = self.answers.get(name)
        if isinstance(known, Exception):
            return fail(known)
        if known is not None:
            return succeed(tuple(known))
        wait: Deferred[Sequence[str]] = Deferred(lambda _: self.cancelled.append(name))
        self._waiting.append((name, wait))
        return wait

    def failed(self, name: bytes) -> None:
        self.distrusted.append(name)

    def name_of(self, address: str, client: str) -> Deferred[bytes]:
        """As with names, but what is answered is one: ``answers[b"192.0.2.1"] = [b"host.example"]``."""
        return self.resolve(address.encode(), client).addCallback(lambda names: names[0])

    def answer(self, name: bytes, hosts: Sequence[str] | Exception = ()) -> None:
        """Tell everybody who waits for *name*; without hosts it is unknown."""
        waiting, self._waiting = self._waiting, []
        for each, wait in waiting:
            if each != name:
                self._waiting.append((each, wait))
            elif not wait.called:
                self._tell(wait, hosts)

    @staticmethod
    def _tell(wait: Deferred[Sequence[str]], hosts: Sequence[str] | Exception) -> None:
        if isinstance(hosts, Exception):
            wait.errback(hosts)
        elif hosts:
            wait.callback(tuple(hosts))
        else:
            wait.errback(DNSLookupError("no address found"))


class FakeDialer(DirectDialer):
    """Every dial waits for :meth:`succeed` or :meth:`fail`; the rest is done directly.

    ``targets`` holds what was dialled, ``askers`` who asked for each, ``cancelled`` what was given up,
    ``judge`` the question that the last dial brought, ``receiver`` who had datagrams ``opened`` last.
    """

    receiver: Any
    opened: IDatagrams

    def __init__(self, reactor: Any, resolver: IResolver | None = None) -> None:
        super().__init__(reactor, resolver or FakeResolver())
        self._waiting: list[Deferred[IStream]] = []
        self.targets: list[Address] = []
        self.askers: list[Access] = []
        self.cancelled: list[Address] = []
        self.judge: Judge = lambda host: ALLOWED

    @override
    def dial(
        self, access: Access, target: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IStream]:
        self.askers.append(access)
        self.targets.append(target)
        self.judge = judge
        dialling: Deferred[IStream] = Deferred(lambda _: self.cancelled.append(target))
        self._waiting.append(dialling)
        return dialling

    @override
    def open_datagrams(
        self, access: Access, judge: Judge, receiver: Any, **circumstances: Any
    ) -> IDatagrams:
        self.receiver = receiver
        self.opened = super().open_datagrams(access, judge, receiver, **circumstances)
        return self.opened

    def succeed(self, **options: Any) -> FakeTransport:
        """The latest dial connects.

        :param options: for :class:`FakeTransport`.
        :returns: the transport towards the target.
        """
        options.setdefault("host", address(OUTGOING[False], 40001))
        options.setdefault("peer", address("192.0.2.80", 80))
        stream, transport = fake_stream(self.reactor, **options)
        self._waiting.pop().callback(stream)
        return transport

    def fail(self, error: Exception) -> None:
        """The latest dial fails."""
        self._waiting.pop().errback(error)


@implementer(IHostnameResolver)
class FakeLookup:
    """A system's resolver in memory; what ``answers`` does not know waits for :meth:`answer`.

    ``asked`` holds every lookup begun, in order.
    """

    def __init__(self, answers: dict[str, Sequence[str]] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[str] = []
        self._waiting: list[tuple[str, IResolutionReceiver]] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.asked.append(hostName)
        resolution = _FakeResolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        if hostName in self.answers:
            self._tell(resolutionReceiver, self.answers[hostName])
        else:
            self._waiting.append((hostName, resolutionReceiver))
        return resolution

    def answer(self, name: str, hosts: Sequence[str] = ()) -> None:
        """Tell the receivers of *name*; without hosts it is unknown."""
        due = [receiver for each, receiver in self._waiting if each == name]
        self._waiting = [each for each in self._waiting if each[0] != name]
        for receiver in due:
            self._tell(receiver, hosts)

    @staticmethod
    def _tell(receiver: IResolutionReceiver, hosts: Sequence[str]) -> None:
        for host in hosts:
            receiver.addressResolved(address(host, 0))
        receiver.resolutionComplete()


@implementer(IHostResolution)
class _FakeResolution:
    """One lookup, which cannot be cancelled: the system's cannot either."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        raise NotImplementedError


@implementer(IAccessLog)
class Records:
    """The access log."""

    def __init__(self) -> None:
        self.written: list[SessionInfo] = []

    def write(self, record: SessionInfo) -> None:
        self.written.append(record)


def let_in(host: str, target: Address | None = None) -> Verdict:
    """A question that is always answered with yes."""
    return ALLOWED


def begin_dial(
    dialer: Any, target: Address, judge: Judge = let_in, asker: Access = ASKER, **settings: Any
) -> Deferred[IStream]:
    """Have a dialer dial for *asker*, who has these settings."""
    chosen = Settings(**settings)
    dialling: Deferred[IStream] = dialer.dial(asker, target, judge, settings=chosen, near="::1")
    return dialling


@implementer(IRules)
class Allow:
    """Rules made of one function, which may say True and False instead of a verdict; what it raises, they raise.
    ``asked`` holds every question.
    """

    def __init__(self, decide: Callable[[Access, str | None], Any] = lambda *_: ALLOWED) -> None:
        self._decide = decide
        self.asked: list[tuple[Access, str | None]] = []

    def judge(self, access: Access, address: str | None) -> Any:
        self.asked.append((access, address))
        answer = self._decide(access, address)
        return Verdict(answer) if isinstance(answer, bool) else answer


@implementer(IAuthenticator)
class Logins:
    """Asks for user name and password; a test gives the verdict."""

    methods = (Method.USERNAME_PASSWORD,)

    def __init__(self) -> None:
        self.asked: list[tuple[Credentials, str]] = []
        self.cancelled = 0
        self._verdict: Deferred[IUser] = Deferred()

    def authenticate(self, credentials: Credentials, client: str) -> Deferred[IUser]:
        self.asked.append((credentials, client))
        self._verdict = Deferred(self._cancel)
        return self._verdict

    def _cancel(self, verdict: Deferred[IUser]) -> None:
        self.cancelled += 1

    def renew(self, user: IUser) -> IUser | None:
        return user

    def accept(self, name: str = "user") -> None:
        self._verdict.callback(User(name))

    def refuse(self, error: Exception | None = None) -> None:
        self._verdict.errback(error or UnauthorizedLogin())


@implementer(IBans)
class FakeBans:
    """Bans made of one function, which let no answer wait. ``told`` holds of what they were told."""

    def __init__(self, decide: Callable[[str], Any] = lambda client: False) -> None:
        self.is_banned = decide
        self.told: list[str] = []

    def failed(self, client: str, is_judged: bool = True) -> float:
        self.told.append("failed")
        return 0.0

    def succeeded(self, client: str) -> None:
        self.told.append("succeeded")


class Begun(dict[int, Any]):
    """Serves a command, and keeps what it has ``begun``.

    :param kind: the command's class.
    """

    def __init__(self, command: int, kind: Callable[[ISession], Any]) -> None:
        super().__init__({command: self._begin})
        self._kind = kind
        self.begun: list[Any] = []

    def _begin(self, session: ISession) -> Any:
        self.begun.append(self._kind(session))
        return self.begun[-1]


@implementer(ICommand)
class FakeCommand:
    """A command that does nothing by itself. ``stopped`` holds the reasons it was stopped for, and the seconds."""

    far = None
    bytes_up = 11
    bytes_down = 22
    dropped = 33
    drops: ClassVar = {"malformed": 33}
    goes_on = False

    def __init__(self, session: ISession) -> None:
        self.session = session
        self.is_started = False
        self.stopped: list[tuple[str, float]] = []
        self.allowed: Any = True

    def start(self) -> None:
        self.is_started = True

    def client_ended(self) -> bool:
        return self.goes_on

    def rejudge(self) -> Any:
        return self.allowed

    def stop(self, reason: Reason, within: float) -> None:
        self.stopped.append((reason, within))
        self.session.end(reason)
