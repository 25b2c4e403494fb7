"""What an LDAP directory says of a user name and a password. Needs ldaptor (the extra ``ldap``).

A login is a connection, a simple bind (RFC 4513 section 5.1.3) and a search for the name as the directory
spells it; where groups are wanted, one more. Over TLS, of which the server's name is verified; in clear
text only to this machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.auth import Known, LoginNotJudged, client_of
from socks5.auth.check_turns import Turns
from socks5.auth.directory import Directory
from socks5.auth.users import WrongSource, spellings
from socks5.loglimit import Sparing

CONNECTIONS = 64
"""Logins at a time; more wait."""

SHARE = CONNECTIONS // 4
"""What of that may be one client's, for a directory may take its time."""

_OUT_OF_ORDER = (TimeoutError, ConnectError, ConnectionClosed, DNSLookupError)

_REFUSALS = {19, 32, 34, 48, 49, 53}
"""Result codes of a bind (RFC 4511 appendix A) that say no: constraintViolation, noSuchObject,
invalidDNSyntax, inappropriateAuthentication, invalidCredentials, unwillingToPerform.
"""

_UNREADABLE = {32, 34, 50}
"""Result codes of a search that finds nothing to read: noSuchObject, invalidDNSyntax,
insufficientAccessRights.
"""

_NAMING = re.compile(r"\s*(?P<attribute>[A-Za-z][A-Za-z0-9-]*)\s*=\s*\{name\}\s*(?:,|$)")
"""A DN whose first part is the name and nothing else."""


@implementer(ICredentialsChecker)
class LDAPChecker:
    """Lets in whom the directory lets bind.

    :param directory: how it is asked.
    :param reactor: gives the reactor, at the first login.
    :raises WrongSource: ldaptor is not installed, or something of *directory* cannot be used.
    """

    log = Logger()
    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, directory: Directory, reactor: Callable[[], Any]) -> None:
        if find_spec("ldaptor") is None:
            raise WrongSource("needs ldaptor: pip install 'txsocks5[ldap]'")
        _check_filter(directory.search_filter)
        self._directory = directory
        self._tls = _tls_for(directory)
        self._reactor = reactor
        self._turns = Turns(CONNECTIONS, SHARE)
        self._lines = Sparing(lines=1)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See :meth:`twisted.cred.checkers.ICredentialsChecker.requestAvatarId`.

        A login without a password is refused unasked: to a directory it is none, and succeeds
        (RFC 4513 section 5.1.2).
        """
        name, password = credentials.username, credentials.password
        if not name or not password:
            return fail(UnauthorizedLogin("a directory takes no empty name and no empty password"))
        login = self._log_in(client_of(credentials), name, password)
        return Deferred.fromCoroutine(login).addBoth(self._over)

    async def _log_in(self, client: str, name: bytes, password: bytes) -> Known:
        """Ask the directory when it is the client's turn."""
        turn = await self._turns.wait(client)
        try:
            judging = Deferred.fromCoroutine(self._judge_spellings(name, password))
            return await judging.addTimeout(self._directory.timeout, self._reactor())
        finally:
            turn.over()

    def _over(self, outcome: Any) -> Any:
        """What is neither a verdict nor a cancellation is no verdict, and the log says so."""
        from ldaptor.protocols.ldap.ldaperrors import LDAPException
        from OpenSSL.SSL import Error
        from service_identity import CertificateError, VerificationError

        if not isinstance(outcome, Failure) or outcome.check(LoginFailed, CancelledError):
            return outcome
        expected = (*_OUT_OF_ORDER, LDAPException, Error, VerificationError, CertificateError)
        if outcome.check(*expected) is None:
            return outcome
        if (left_out := self._lines.next()) is not None:
            self.log.error(
                "{uri} cannot judge logins: {kind}: {text}; times: {count}",
                uri=self._directory.uri,
                kind=type(outcome.value).__name__,
                text=_text_of(outcome.value),
                count=left_out + 1,
            )
        return Failure(LoginNotJudged("the directory is out of order"))

    async def _judge_spellings(self, name: bytes, password: bytes) -> Known:
        """Ask for the login in UTF-8, and then for its password as it was sent, if that is another one. A name in a
        directory is UTF-8 (RFC 4511 section 4.1.2).
        """
        own_name, in_utf8 = spellings(name, password)[0]
        try:
            return await self._judge(own_name.decode(), in_utf8)
        except UnauthorizedLogin:
            if in_utf8 == password:
                raise
        return await self._judge(own_name.decode(), password)

    async def _judge(self, name: str, password: bytes) -> Known:
        client = await self._connect()
        try:
            dn, own_name = await self._found(client, name)
            await self._bind(client, dn, password)
            if own_name is None:
                own_name = await self._read_name(client, dn, name)
            return Known(own_name, await self._groups_of(client, dn))
        finally:
            self._abandon(client)

    def _abandon(self, client: Any) -> None:
        """Cut the connection. Not at once: ldaptor may be in the middle of a message."""

        def abandon() -> None:
            if client.connected:  # a lost one of TLS cannot be cut any more
                client.transport.abortConnection()

        self._reactor().callLater(0, abandon)

    async def _connect(self) -> Any:
        from ldaptor.protocols.ldap.ldapclient import LDAPClient

        directory, reactor = self._directory, self._reactor()
        endpoint: Any = HostnameEndpoint(reactor, directory.host, directory.port)
        if directory.is_tls:
            endpoint = wrapClientTLS(self._tls, endpoint)
        factory = Factory.forProtocol(LDAPClient)
        factory.noisy = False  # else two lines in the log for each login
        client = await endpoint.connect(factory)
        if directory.start_tls and not directory.is_tls:
            try:
                await client.startTLS(self._tls)
                if client.buffer:  # read in clear text, so anybody may have sent it
                    client.buffer = b""
                    raise ConnectionClosed("octets behind the answer to StartTLS")
            except BaseException:
                self._abandon(client)
                raise
        return client

    async def _bind(self, client: Any, dn: str, password: bytes) -> None:
        """:raises UnauthorizedLogin: the directory says no."""
        from ldaptor.protocols.ldap.ldaperrors import LDAPException

        try:
            await client.bind(dn, password)
        except LDAPException as error:
            if error.resultCode in _REFUSALS:
                raise UnauthorizedLogin("the directory refuses this login") from None
            raise

    async def _found(self, client: Any, name: str) -> tuple[str, bytes | None]:
        """The user's DN, and how the directory spells the name: None if it must still be asked.

        :raises UnauthorizedLogin: there is not exactly one such user.
        """
        from ldaptor.protocols.ldap.distinguishedname import escape

        directory = self._directory
        if directory.user_dn:
            return directory.user_dn.replace("{name}", escape(name)), None
        await self._bind_to_search(client)
        attribute = directory.search_attribute
        found = await self._search(
            client,
            directory.search_base,
            attribute,
            name,
            wanted=attribute,
            also=directory.search_filter,
        )
        if len(found) != 1:
            raise UnauthorizedLogin("the directory has no such user, or several")
        return str(found[0].dn.getText()), _own_name(found[0].get(attribute, ()), name)

    async def _read_name(self, client: Any, dn: str, name: str) -> bytes:
        """How the entry of a user who has bound spells the name.

        :raises UnauthorizedLogin: see :func:`_own_name`.
        """
        from ldaptor.protocols.ldap.ldaperrors import LDAPException
        from ldaptor.protocols.ldap.ldapsyntax import LDAPEntry
        from ldaptor.protocols.pureldap import LDAP_SCOPE_baseObject

        naming = _NAMING.match(self._directory.user_dn)
        if naming is None:
            return _own_name((), name)
        attribute = naming["attribute"]
        try:
            found = await LDAPEntry(client, dn).search(
                scope=LDAP_SCOPE_baseObject, attributes=[attribute]
            )
        except LDAPException as error:
            if error.resultCode not in _UNREADABLE:
                raise
            found = []
        return _own_name([value for entry in found for value in entry.get(attribute, ())], name)

    async def _bind_to_search(self, client: Any) -> None:
        if self._directory.bind_dn:
            await client.bind(self._directory.bind_dn, self._directory.bind_password.encode())

    async def _groups_of(self, client: Any, dn: str) -> frozenset[str]:
        """The groups whose members the user is; searched as ``bind_dn``, or as the user."""
        directory = self._directory
        if not directory.group_base:
            return frozenset()
        await self._bind_to_search(client)
        attribute = directory.group_attribute
        found = await self._search(
            client, directory.group_base, directory.group_member, dn, wanted=attribute
        )
        names = (group.get(attribute, ()) for group in found)
        return frozenset(
            bytes(name).decode(errors="backslashreplace") for each in names for name in each
        )

    async def _search(
        self, client: Any, base: str, attribute: str, value: str, *, wanted: str, also: str = ""
    ) -> list[Any]:
        """The entries whose attribute has that value, whatever characters are in it, with the values of
        what is wanted.
        """
        from ldaptor.protocols.ldap.ldapsyntax import LDAPEntry
        from ldaptor.protocols.pureldap import (
            LDAPAssertionValue,
            LDAPAttributeDescription,
            LDAPFilter_equalityMatch,
        )

        match = LDAPFilter_equalityMatch(
            attributeDesc=LDAPAttributeDescription(attribute),
            assertionValue=LDAPAssertionValue(value),
        )
        found: list[Any] = await LDAPEntry(client, base).search(
            filterText=also or None,
            filterObject=match,
            attributes=[wanted],
        )
        return found


def _check_filter(text: str) -> None:
    """:raises WrongSource: it is neither empty nor a filter."""
    from ldaptor.ldapfilter import InvalidLDAPFilter, parseFilter

    try:
        parseFilter(text or "(objectClass=*)")
    except InvalidLDAPFilter:
        raise WrongSource(
            f"search_filter: expected a filter like (objectClass=person) (RFC 4515), got {text!r}"
        ) from None


def _tls_for(directory: Directory) -> Any:
    """What every connection's TLS is made of; it takes long to make.

    :raises WrongSource: no certificate can bear the name in the directory's ``uri``.
    """
    trust_root = directory.trust_root()
    try:
        return optionsForClientTLS(directory.host, trust_root)
    except ValueError:  # of IDNA
        raise WrongSource(f"uri: expected the name of a host, got {directory.host!r}") from None


def _own_name(values: Iterable[bytes], name: str) -> bytes:
    """What a user is called, however a client spells it: a directory ignores case, blanks and more when
    it compares (RFC 4518), and a name that stands for the user in rules must not.

    :param values: what the directory calls the user; none if that cannot be read.
    :raises UnauthorizedLogin: it is several names, or it cannot be read and is not spelt in the one way
        that is then accepted: ASCII in small letters, with single blanks inside.
    """
    names = [bytes(value) for value in values]
    if len(names) > 1:
        raise UnauthorizedLogin("the directory has several names for this user")
    if names:
        return names[0]
    if not name.isascii() or not name.isprintable() or name != " ".join(name.lower().split()):
        raise UnauthorizedLogin("the name is not spelt in small letters of ASCII")
    return name.encode()


def _text_of(error: Any) -> str:
    """What an error says; of a directory's answer the code only, for its text may quote what was sent."""
    code = getattr(error, "resultCode", None)
    return str(error) if code is None else f"result code {code} (RFC 4511 appendix A)"
