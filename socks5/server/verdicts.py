"""Yes or no from objects that others have written: only the plain value lets somebody in.

A coroutine, a Deferred and a forgotten ``return`` are no answers, and the first two are true to Python: a
rule that waits would let everybody in. Here whatever is neither True nor False refuses, and the log says so
once for each object. What can be seen before anybody asks is refused at once, by :func:`answering`.
"""

from __future__ import annotations

import inspect
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from socks5.access import Access, IUser
from socks5.interfaces import IBans, IRules

_Object = TypeVar("_Object")

_LATER = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


class NotAUser(TypeError):
    """Whoever judges logins has accepted one, and has not said whose it is."""


def answering(asked: _Object, *methods: str) -> _Object:
    """An object whose *methods* answer at once, as far as that can be seen without a call.

    :returns: the object.
    :raises TypeError: it has no such method, is a class, or the method is an ``async def`` or a generator.
    """
    for name in methods:
        method: Any = getattr(asked, name, None)
        if isinstance(asked, type) or not callable(method):
            kind = f"the class {asked.__name__}" if isinstance(asked, type) else repr(type(asked))
            raise TypeError(f"expected an object with a method {name}(), got {kind}")
        if any(is_later(each) for is_later in _LATER for each in (method, type(method).__call__)):
            raise TypeError(
                f"{type(asked).__name__}.{name}() must answer at once: expected a plain function, "
                "got an async def or a generator"
            )
    return asked


def as_user(answer: object) -> IUser:
    """What a login that was accepted has led to, if that is a user.

    :raises NotAUser: it has no ``name``, or none that is text.
    """
    if not isinstance(getattr(answer, "name", None), str):
        raise NotAUser(f"expected a user, got {type(answer).__name__}")
    return cast("IUser", answer)


class _Strict:
    """Asks somebody else's object.

    :param asked: whom.
    :param method: what its author has to mend.
    """

    log = Logger()

    def __init__(self, asked: Any, method: str) -> None:
        self.given = asked
        """Whom."""
        self._method = method
        self._has_complained = False

    def _complain(self, answer: object) -> None:
        """There was no answer: say so, once, and see to it that the thing itself causes no line of its own."""
        if inspect.iscoroutine(answer):
            answer.close()
        elif isinstance(answer, Deferred):
            answer.addErrback(lambda _: None)
        if not self._has_complained:
            self._has_complained = True
            self.log.error(
                "{kind}.{method}() must answer True or False, at once, and answered with an object of "
                "type {answer}: whatever it was asked is refused, now and whenever it answers so",
                kind=type(self.given).__name__,
                method=self._method,
                answer=type(answer).__name__,
            )


@implementer(IRules)
class StrictRules(_Strict):
    """Rules of which only True allows.

    :raises TypeError: see :func:`answering`.
    """

    def __init__(self, rules: IRules) -> None:
        super().__init__(answering(rules, "allows"), "allows")

    def allows(self, access: Access, address: str | None) -> bool:
        """See :meth:`socks5.interfaces.IRules.allows`."""
        answer = self.given.allows(access, address)
        if answer is True:
            return True
        if answer is not False:
            self._complain(answer)
        return False


@implementer(IBans)
class StrictBans(_Strict):
    """Bans of which only False lets somebody in.

    :raises TypeError: see :func:`answering`.
    """

    def __init__(self, bans: IBans) -> None:
        super().__init__(answering(bans, "is_banned", "failed", "succeeded"), "is_banned")

    def is_banned(self, client: str) -> bool:
        """See :meth:`socks5.interfaces.IBans.is_banned`."""
        answer = self.given.is_banned(client)
        if answer is False:
            return False
        if answer is not True:
            self._complain(answer)
        return True

    def failed(self, client: str, is_judged: bool = True) -> float:
        """See :meth:`socks5.interfaces.IBans.failed`."""
        seconds: float = self.given.failed(client, is_judged)
        return seconds

    def succeeded(self, client: str) -> None:
        """See :meth:`socks5.interfaces.IBans.succeeded`."""
        self.given.succeeded(client)
