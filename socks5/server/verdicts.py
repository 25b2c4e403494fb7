"""Answers from objects that others have written: only the plain value lets somebody in.

A coroutine, a Deferred and a forgotten ``return`` are true to Python: a rule that is taken at its word would let
everybody in. Here whatever is no answer refuses, and the log says so. Rules may give their verdict later; what is
asked besides is answered at once. What can be seen before anybody asks is refused at once, by :func:`answering`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import ALLOWED, DENIED, Access, IUser, Verdict
from socks5.interfaces import IRules
from socks5.logins import IBans
from socks5.loglimit import Sparing
from socks5.policy.rules import Rules
from socks5.policy.ruleset import Ruleset

_Object = TypeVar("_Object")

_NEVER = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
"""What these give is no answer, and nothing to await."""

_LATER = (inspect.iscoroutinefunction, *_NEVER)


class NotAUser(TypeError):
    """Whoever judges logins has accepted one, and has not said whose it is."""


def answering(asked: _Object, *methods: str, may_wait: bool = False) -> _Object:
    """An object whose *methods* answer at once, as far as that can be seen without a call.

    :param may_wait: they may also give something to await.
    :returns: the object.
    :raises TypeError: it has no such method, is a class, or the method is an ``async def`` or a generator.
    """
    no_answers = _NEVER if may_wait else _LATER
    for name in methods:
        method: Any = getattr(asked, name, None)
        if isinstance(asked, type) or not callable(method):
            kind = f"the class {asked.__name__}" if isinstance(asked, type) else repr(type(asked))
            raise TypeError(f"expected an object with a method {name}(), got {kind}")
        if any(is_none(each) for is_none in no_answers for each in (method, type(method).__call__)):
            raise TypeError(
                f"{type(asked).__name__}.{name}() must answer{'' if may_wait else ' at once'}: expected a plain "
                f"function, got {'a generator' if may_wait else 'an async def or a generator'}"
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
    :param answers: how that is to answer.
    """

    log = Logger()

    def __init__(self, asked: Any, method: str, answers: str) -> None:
        self.given = asked
        """Whom."""
        self._method = method
        self._answers = answers
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
                "{kind}.{method}() must answer {answers}, and answered with an object of "
                "type {answer}: whatever it was asked is refused, now and whenever it answers so",
                kind=type(self.given).__name__,
                method=self._method,
                answers=self._answers,
                answer=type(answer).__name__,
            )


def strict_rules(rules: Any) -> IRules:
    """Rules of which only a :class:`~socks5.access.Verdict` that says so allows; or, where they are of the shape that
    rules had before there were verdicts (``allows(access, address) -> bool``), only the value True.

    :raises TypeError: they can be seen to answer with nothing of the kind, or to leave a rule out.
    """
    if type(rules) is Rules or type(rules) is Ruleset:
        return cast("IRules", rules)
    return StrictAnswers(rules) if _is_asked_by_allows(rules) else StrictRules(rules)


def _is_asked_by_allows(rules: Any) -> bool:
    """Which of its methods says what rules are: the one that is defined nearer to the object.

    :raises TypeError: that one knows nothing of the other, behind it, which only somebody of its own time would ask.
    """
    places = [getattr(rules, "__dict__", {}), *map(vars, type(rules).__mro__)]
    shapes = [names for each in places if (names := {"judge", "allows"} & each.keys())]
    if shapes and shapes[0] == {"judge"} and {"allows"} in shapes:
        raise TypeError(f"{type(rules).__name__}.judge() leaves out an allows() that it inherits")
    return bool(shapes) and shapes[0] == {"allows"}


@implementer(IRules)
class StrictRules(_Strict):
    """See :func:`strict_rules`.

    :raises TypeError: see :func:`answering`.
    """

    def __init__(self, rules: Any) -> None:
        answering(rules, "judge", may_wait=True)
        super().__init__(
            rules, "judge", "with a Verdict, or with something to await that gives one"
        )
        self._failures = Sparing()

    def judge(self, access: Access, address: str | None) -> Verdict | Deferred[Verdict]:
        """See :meth:`socks5.interfaces.IRules.judge`.

        :returns: a Deferred fires with a verdict, whatever comes, and may be cancelled.
        """
        answer = self.given.judge(access, address)
        # The usual answer, without more ado.
        if type(answer) is Verdict and answer.is_allowed is True:
            return answer
        if isinstance(answer, Verdict) or not isinstance(answer, Awaitable):
            return self._checked(answer)
        later = answer if isinstance(answer, Deferred) else Deferred.fromCoroutine(_awaited(answer))
        return later.addCallbacks(self._checked, self._failed)

    def _checked(self, answer: Any) -> Verdict:
        is_allowed = answer.is_allowed if isinstance(answer, Verdict) else None
        if is_allowed is True or is_allowed is False:
            return cast("Verdict", answer)
        self._complain(answer)
        return DENIED

    def _failed(self, failure: Failure) -> Verdict:
        """There will be no verdict. Who has cancelled it has not asked for one any more."""
        left_out = None if failure.check(CancelledError) else self._failures.next()
        if left_out is not None:
            said = "a rule failed, which refuses; {left_out} more of that had no line"
            self.log.failure(said, failure, left_out=left_out)
        return DENIED


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


@implementer(IRules)
class StrictAnswers(_Strict):
    """Rules that say True or False; see :func:`strict_rules`.

    :raises TypeError: see :func:`answering`.
    """

    def __init__(self, rules: Any) -> None:
        super().__init__(answering(rules, "allows"), "allows", "True or False, at once")

    def judge(self, access: Access, address: str | None) -> Verdict:
        """See :meth:`socks5.interfaces.IRules.judge`."""
        answer = self.given.allows(access, address)
        if answer is True:
            return ALLOWED
        if answer is not False:
            self._complain(answer)
        return DENIED


@implementer(IBans)
class StrictBans(_Strict):
    """Bans of which only False lets somebody in.

    :raises TypeError: see :func:`answering`.
    """

    def __init__(self, bans: IBans) -> None:
        super().__init__(
            answering(bans, "is_banned", "failed", "succeeded"),
            "is_banned",
            "True or False, at once",
        )

    def is_banned(self, client: str) -> bool:
        """See :meth:`socks5.logins.IBans.is_banned`."""
        answer = self.given.is_banned(client)
        if answer is False:
            return False
        if answer is not True:
            self._complain(answer)
        return True

    def failed(self, client: str, is_judged: bool = True) -> float:
        """See :meth:`socks5.logins.IBans.failed`."""
        seconds: float = self.given.failed(client, is_judged)
        return seconds

    def succeeded(self, client: str) -> None:
        """See :meth:`socks5.logins.IBans.succeeded`."""
        self.given.succeeded(client)
