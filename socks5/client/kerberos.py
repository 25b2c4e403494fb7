"""Security contexts that we begin, by the system's GSS-API: Kerberos. Needs the library ``gssapi`` (the extra of that
name).

A step may ask the KDC, so it is taken in a thread. Messages are wrapped where they are sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from twisted.internet.defer import Deferred, DeferredSemaphore

from socks5.gss import said, unwrap
from socks5.protocol.errors import AuthenticationFailed
from socks5.protocol.gssapi import MAX_TOKEN, Protection
from socks5.threads import aside

STEPS = 4
"""Steps of an initiator's at once. A KDC that does not answer holds a thread for half a minute, and the reactor's
threads, of which there are ten, look up names, too.
"""

_LEVELS = {
    "integrity": Protection.INTEGRITY,
    "confidentiality": Protection.CONFIDENTIALITY,
    "none": Protection.NONE,
}


class Initiator:
    """Logs in to proxies with the Kerberos ticket of whoever runs the program (RFC 1961).

    :param reactor: is told what threads find.
    :param service: the proxy's, on its host.
    :param protection: the level that is wanted of what travels: ``confidentiality``, ``integrity`` or ``none``. With
        less than that a proxy is refused.
    :param nec: whether the level is told bare, as NEC's reference implementation does, and some servers want it.
    :param host: the proxy's name in its key, where the way to it has none, or another.
    :param run: calls a function in a thread, where a server takes steps in turn: with the IP literal of the client whom
        that is for, the function, and its arguments. None: in a thread of the reactor's.
    :raises ValueError: the library is not installed, or there is no such level; says what to do.
    """

    def __init__(
        self,
        reactor: Any,
        service: str = "rcmd",
        protection: Literal["confidentiality", "integrity", "none"] = "confidentiality",
        nec: bool = False,
        host: str | None = None,
        run: Callable[..., Deferred[Any]] | None = None,
    ) -> None:
        try:
            import gssapi
        except (ImportError, OSError) as error:
            raise ValueError(
                f"needs the library gssapi: pip install 'txsocks5[gssapi]' ({error})"
            ) from None
        if protection not in _LEVELS:
            raise ValueError(f"protection={protection!r}: expected one of {', '.join(_LEVELS)}")
        self._reactor = reactor
        self._turns = DeferredSemaphore(STEPS)
        self.run = self._aside if run is None else run
        self.level = _LEVELS[protection]
        self.is_bare = nec
        self.host = host
        self.library: Any = gssapi
        self.service = service

    def initiate(self, host: str, client: str = "", for_datagrams: bool = False) -> Context:
        """See :meth:`socks5.client.contexts.IInitiator.initiate`."""
        return Context(self, host, client, for_datagrams)

    def _aside(self, client: str, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Who is cancelled while waiting takes no thread; a thread itself cannot be given up."""
        turn = self._turns.acquire()
        found: Deferred[Any] = Deferred(lambda _: turn.cancel())

        def end(outcome: Any) -> None:
            self._turns.release()
            if not found.called:
                found.callback(outcome)

        def begin(_: object) -> None:
            aside(self._reactor, call, *arguments).addBoth(end)

        turn.addCallbacks(begin, lambda _: None)
        return found


class Context:
    """One context. See :class:`socks5.client.contexts.IContext`."""

    def __init__(self, initiator: Initiator, host: str, client: str, for_datagrams: bool) -> None:
        self._initiator = initiator
        self._host = host
        self._client = client
        self._for_datagrams = for_datagrams
        self._context: Any = None

    def step(self, token: bytes) -> Deferred[bytes]:
        """See :meth:`socks5.client.contexts.IContext.step`."""
        return self._initiator.run(self._client, self._step, token)

    def _step(self, token: bytes) -> bytes:
        """Called in a thread."""
        library = self._initiator.library
        if self._context is None:
            flag = library.RequirementFlag
            # With that one lost datagram would be the loss of the next one, too.
            order = () if self._for_datagrams else (flag.out_of_sequence_detection,)
            name = f"{self._initiator.service}@{self._host}"
            self._context = library.SecurityContext(
                name=library.Name(name, library.NameType.hostbased_service),
                mech=library.MechType.kerberos,
                usage="initiate",
                flags=(
                    *(flag.mutual_authentication, flag.replay_detection),
                    *(*order, flag.integrity, flag.confidentiality),
                ),
            )
        try:
            return self._context.step(token or None) or b""
        except library.exceptions.GSSError as error:
            raise AuthenticationFailed(said(error)) from None

    @property
    def is_complete(self) -> bool:
        """See :meth:`socks5.client.contexts.IContext.is_complete`."""
        return self._context is not None and bool(self._context.complete)

    def size_limit(self, is_confidential: bool) -> int:
        """See :meth:`socks5.net.protected.Sealing.size_limit`."""
        return int(self._context.get_wrap_size_limit(MAX_TOKEN, is_confidential))

    def wrap(self, data: bytes, is_confidential: bool) -> bytes:
        """See :meth:`socks5.net.protected.Sealing.wrap`."""
        token: bytes = self._context.wrap(data, is_confidential).message
        return token

    def unwrap(self, token: bytes) -> tuple[bytes, bool]:
        """See :meth:`socks5.net.protected.Sealing.unwrap`."""
        return unwrap(self._initiator.library, self._context, token)
