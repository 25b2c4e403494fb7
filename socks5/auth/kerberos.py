"""Security contexts by the system's GSS-API: Kerberos. Needs the library ``gssapi`` (the extra of that name).

Contexts are established in threads of their own, in turn by client, for that reads the keytab and writes the
replay cache to the disk. Their messages are wrapped and unwrapped in the thread of whoever asks.

Not used: channel bindings, and what a client delegates, which is dropped at once. A context that has been
established stays good although the ticket behind it expires, as a session outlives a password.
"""

from __future__ import annotations

import errno
from collections.abc import Collection
from typing import Any

from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from socks5.auth import LoginNotJudged, User
from socks5.auth.users import WrongSource
from socks5.auth.work import Work
from socks5.gss import said, unwrap
from socks5.logins import IAcceptor, IContext, Step
from socks5.loglimit import Sparing
from socks5.protocol.address import MAX_NAME
from socks5.protocol.gssapi import MAX_TOKEN, Protection

PROTECTIONS = (Protection.INTEGRITY, Protection.CONFIDENTIALITY)
"""The levels that may be agreed, unless told otherwise: all that protect."""

ANONYMOUS = "WELLKNOWN/ANONYMOUS@"
"""What the name of a client without one begins with (RFC 8062 section 3.1)."""

_NO_KEY = 2529638957
"""The minor status where the keytab has gone, or is empty (KRB5KRB_AP_ERR_NOKEY)."""

_OUT_OF_DATE = frozenset({2529638944, 2529638949, 2529638956})
"""Minor statuses of a ticket that has expired, a clock that is wrong, and a key that was changed
(KRB5KRB_AP_ERR_TKT_EXPIRED, _SKEW, _BADKEYVER): nobody guesses anything with these.
"""

_OUT_OF_ORDER = frozenset(
    {
        _NO_KEY,
        errno.EPERM,
        errno.ENOENT,
        errno.EIO,
        errno.ENOMEM,
        errno.EACCES,
        errno.ENFILE,
        errno.EMFILE,
        errno.ENOSPC,
        errno.EROFS,
        errno.EDQUOT,
    }
)
"""Minor statuses that are no verdict: of the keytab, or the system's, of the replay cache."""


@implementer(IAcceptor)
class Acceptor:
    """Accepts Kerberos contexts with the keys of a keytab.

    :param reactor: is told what the threads find.
    :param service: whose keys: "rcmd", on any host, or "rcmd@host"; None: all that are there.
    :param keytab: its path; None: the system's default, or that of ``$KRB5_KTNAME``. It is read for each context,
        so it may be replaced.
    :param protections: the levels that may be agreed.
    :param local_realms: users of these go by their name without the realm.
    :param work: the threads; default: its own.
    :raises WrongSource: the library is not installed, or there is no such key; says what to do.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        service: str | None = None,
        *,
        keytab: str | None = None,
        protections: Collection[Protection] = PROTECTIONS,
        local_realms: Collection[str] = (),
        work: Work | None = None,
    ) -> None:
        try:
            import gssapi
        except (ImportError, OSError) as error:
            raise WrongSource(
                f"needs the library gssapi: pip install 'txsocks5[gssapi]' ({error})"
            ) from None
        self.library: Any = gssapi
        self.protections = frozenset(protections)
        self.local_realms = frozenset(local_realms)
        self.credentials = self._acquire(service, keytab)
        self.work = Work(lambda: reactor) if work is None else work
        self._complaints = Sparing(lines=1)
        self._refusals = Sparing()

    def _acquire(self, service: str | None, keytab: str | None) -> Any:
        library = self.library
        place = None
        if keytab is not None:
            place = {"keytab": f"FILE:{keytab}"}
            try:
                with open(keytab, "rb"):
                    pass
            except OSError as error:
                raise WrongSource(f"keytab {keytab}: {error.strerror}", "keytab") from None
        try:
            name = service and library.Name(service, library.NameType.hostbased_service)
            mechanisms = [library.MechType.kerberos]
            return library.Credentials(name=name, usage="accept", mechs=mechanisms, store=place)
        except library.exceptions.GSSError as error:
            raise WrongSource(
                f"{said(error)}: expected a keytab with a key of {service or 'a service'}; klist -k shows its keys",
                "keytab" if keytab else "",
            ) from None

    def accept(self, client: str) -> IContext:
        """See :meth:`socks5.logins.IAcceptor.accept`."""
        return Context(self, client)

    def refusal(self, error: Any) -> LoginFailed:
        """A context that could not be established, as the failed login that it is."""
        if error.min_code not in _OUT_OF_ORDER:
            left_out = self._refusals.next()
            if left_out is not None:
                self.log.debug(
                    "a security context was refused: {reason}{others}",
                    reason=said(error),
                    others=f"; {left_out} more without a line" if left_out else "",
                )
            if error.min_code in _OUT_OF_DATE:
                return LoginNotJudged("a ticket that is out of date", was_refused=True)
            return UnauthorizedLogin("the security context is not accepted")
        left_out = self._complaints.next()
        if left_out is not None:
            self.log.error(
                "cannot judge security contexts, for want of the keytab or the replay cache: {reason}; "
                "times: {count}",
                reason=said(error),
                count=left_out + 1,
            )
        return LoginNotJudged("the keytab or the replay cache is out of order")


@implementer(IContext)
class Context:
    """One client's context.

    :param acceptor: whose keys and rules.
    :param client: the client's IP literal.
    """

    def __init__(self, acceptor: Acceptor, client: str) -> None:
        self._acceptor = acceptor
        self._client = client
        self._library = acceptor.library
        self._raw = acceptor.library.raw
        self._context: Any = None
        self._flags: Any = None

    def step(self, token: bytes) -> Deferred[Step]:
        """See :meth:`socks5.logins.IContext.step`."""
        return self._acceptor.work.run(self._client, self._step, token)

    def _step(self, token: bytes) -> Step:
        """Called in a thread.

        :raises twisted.cred.error.LoginFailed: the context cannot be established, or its user has no name.
        """
        acceptor = self._acceptor
        try:
            outcome = self._raw.accept_sec_context(token, acceptor.credentials, self._context)
        except self._library.exceptions.GSSError as error:
            raise acceptor.refusal(error) from None
        self._context = outcome.context
        self._flags = outcome.flags
        answer = outcome.token or b""
        if outcome.more_steps:
            return Step(answer)
        return Step(answer, User(self._name_of(outcome.initiator_name)))

    def _name_of(self, principal: Any) -> str:
        """:raises twisted.cred.error.UnauthorizedLogin: it is none to be known by."""
        octets = self._raw.display_name(principal, False).name
        name: str = octets.decode("utf-8", "backslashreplace")
        is_anonymous = self._library.RequirementFlag.anonymity in self._flags
        if is_anonymous or name.startswith(ANONYMOUS) or len(octets) > MAX_NAME:
            raise UnauthorizedLogin("a client without a name, or with one that is too long")
        return local_name(name, self._acceptor.local_realms)

    def protections(self) -> Collection[Protection]:
        """See :meth:`socks5.logins.IContext.protections`."""
        flags, flag = self._flags, self._library.RequirementFlag
        possible = {Protection.NONE}
        if flag.integrity in flags:
            possible.add(Protection.INTEGRITY)
        if flag.confidentiality in flags:
            possible.add(Protection.CONFIDENTIALITY)
        return possible & self._acceptor.protections

    def size_limit(self, is_confidential: bool) -> int:
        """See :meth:`socks5.logins.IContext.size_limit`."""
        limit: int = self._raw.wrap_size_limit(self._context, MAX_TOKEN, is_confidential)
        return limit

    def wrap(self, data: bytes, is_confidential: bool) -> bytes:
        """See :meth:`socks5.logins.IContext.wrap`."""
        token: bytes = self._raw.wrap(self._context, data, is_confidential).message
        return token

    def unwrap(self, token: bytes) -> tuple[bytes, bool]:
        """See :meth:`socks5.logins.IContext.unwrap`."""
        return unwrap(self._library, self._context, token)


def local_name(principal: str, local_realms: Collection[str]) -> str:
    """A user's name: without the realm if that is a local one.

    :param principal: as Kerberos displays it: an @ within a name has a backslash before it.
    """
    name, _, realm = principal.rpartition("@")
    return name if realm in local_realms and not name.endswith("\\") else principal
