"""Who somebody is: the sections ``auth`` and ``gssapi`` become what asks for logins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.strcred import (
    InvalidAuthArgumentString,
    InvalidAuthType,
    findCheckerFactory,
)

from socks5.app import sources
from socks5.app.config.building import Building
from socks5.app.config.client_keys import (
    FileSource,
    HtpasswdSource,
    LDAPSource,
    PAMSource,
    PluginSource,
    SecretsSource,
)
from socks5.app.config.files import From
from socks5.app.config.keys import GSSAPI, Configuration
from socks5.app.config.places import Path
from socks5.app.reread import Source
from socks5.auth import PasswordAuthentication
from socks5.auth.directory import Directory
from socks5.auth.kerberos import Acceptor
from socks5.auth.users import WrongSource
from socks5.flaws import Flaws, together
from socks5.logins import IAcceptor, IAuthenticator, IMethod
from socks5.protocol.messages import Method
from socks5.server.chap_login import CHAP

ANY = "any"
"""The service that stands for every key of the keytab."""

MEMORY = "memory"
"""The type of ``use`` that holds passwords."""


@dataclass(frozen=True)
class Logins:
    """What asks for logins.

    :param authenticator: asks for passwords; None: nobody does.
    :param gssapi: takes tickets; None: nobody does.
    :param methods: other ways.
    :param sources: what is read again when its files change.
    :param is_whole: whether all that was said could be had.
    """

    authenticator: IAuthenticator | None = None
    gssapi: IAcceptor | None = None
    methods: Sequence[IMethod] = ()
    sources: Sequence[Source] = field(default=())
    is_whole: bool = True

    @property
    def accepted(self) -> list[Method]:
        """Methods that are accepted where nothing else is said."""
        present = {
            Method.GSSAPI: self.gssapi is not None,
            Method.CHAP: bool(self.methods),
            Method.USERNAME_PASSWORD: self.authenticator is not None,
        }
        return [each for each, is_there in present.items() if is_there] or [
            Method.NO_AUTHENTICATION
        ]


def logins(configuration: Configuration, building: Building, reactor: Any) -> Logins:
    """What asks for logins.

    :param reactor: None to look only whether it can be had.
    """
    checkers = []
    for name, source in configuration.auth.items():
        checker = _attempt(building, ("auth", name), partial(_checker, source, building))
        if checker is not None:
            checkers.append(checker)
    with_secrets = [
        each for each in checkers if IUsernameHashedPassword in each.credentialInterfaces
    ]
    files = [file for each in checkers if (file := getattr(each, "file", None)) is not None]
    gssapi = None
    if configuration.gssapi is not None:
        said = configuration.gssapi
        gssapi = _attempt(building, ("gssapi",), lambda: _acceptor(said, building, reactor))
    return Logins(
        PasswordAuthentication.over(*checkers) if checkers else None,
        gssapi,
        [CHAP.over(*with_secrets)] if with_secrets else [],
        files,
        len(checkers) == len(configuration.auth)
        and (gssapi is None) == (configuration.gssapi is None),
    )


def _attempt(building: Building, path: Path, make: Callable[[], Any]) -> Any:
    """What is made, or None if it cannot be, which is said."""
    try:
        return make()
    except WrongSource as error:
        for each in error.all:
            at = (*path, each.key) if each.key else path
            building.wrong(at, each.sentence)
    return None


def _located(said: From | None, key: str, building: Building) -> str:
    """The path of a file; "" for none.

    :raises WrongSource: there is no such credential.
    """
    try:
        return "" if said is None else said.path(building.document.folder)
    except ValueError as error:
        raise WrongSource(str(error), key) from None


def _checker(source: Any, building: Building) -> ICredentialsChecker:
    """Who knows users.

    :raises WrongSource: says what is wrong.
    """
    match source:
        case HtpasswdSource():
            return _htpasswd(source, building)
        case FileSource():
            return sources.passwords_of(_located(source.file, "file", building))
        case SecretsSource():
            is_private = source.file.way != "credential"
            return sources.secrets_of(_located(source.file, "file", building), is_private)
        case PAMSource():
            return sources.pam(source.service)
        case LDAPSource():
            return sources.ldap_of(_directory(source, building))
        case _:
            return _plugin(source, building.document.folder)


def _htpasswd(source: HtpasswdSource, building: Building) -> ICredentialsChecker:
    flaws = Flaws()
    groups = flaws.of(partial(_located, source.groups, "groups", building)) or ""
    file = flaws.of(partial(_located, source.file, "file", building))
    checker: Any = flaws.of(partial(sources.htpasswd_of, file, groups)) if file else None
    flaws.end()
    return checker  # type: ignore[no-any-return]


def _directory(source: LDAPSource, building: Building) -> Directory:
    flaws = Flaws()
    values = {each.name: getattr(source, each.name) for each in fields(Directory)}
    values["ca_file"] = building.path(source.ca_file) if source.ca_file else ""
    values["bind_password"] = flaws.of(partial(_revealed, source.bind_password, building))
    directory = Directory(**values)
    flaws.of(directory.check)
    flaws.end()
    return directory


def _revealed(said: From | None, building: Building) -> str:
    try:
        return "" if said is None else said.reveal(building.document.folder)
    except ValueError as error:
        raise WrongSource(str(error), "bind_password") from None


def _plugin(source: PluginSource, folder: str) -> ICredentialsChecker:
    """What is installed, or one of our own kinds.

    :param folder: what paths are relative to, where we know what is one.
    :raises WrongSource: quotes nothing, for it may hold passwords.
    """
    kind, _, arguments = source.use.partition(":")
    try:
        generate = sources.SOURCES.get(kind) or findCheckerFactory(kind).generateChecker
        checker: ICredentialsChecker = generate(sources.in_folder(kind, arguments, folder))
    except InvalidAuthType:
        known = ", ".join(sources.types())
        raise WrongSource(f"expected a type of {known} before the colon", "use") from None
    except WrongSource as error:
        raise together([WrongSource(each.sentence, "use") for each in error.all]) from None
    except (ValueError, OSError, InvalidAuthArgumentString):
        form = findCheckerFactory(kind).argStringFormat
        raise WrongSource(f"expected behind the colon: {form}", "use") from None
    if IUsernamePassword not in checker.credentialInterfaces:
        raise WrongSource("expected a type for user names and passwords", "use")
    return checker


def _acceptor(said: GSSAPI, building: Building, reactor: Any) -> IAcceptor:
    """What takes tickets.

    :raises WrongSource: it cannot be had.
    """
    keytab = None
    if said.keytab is not None:
        keytab = _located(said.keytab, "keytab", building)
        try:
            with open(keytab, "rb"):
                pass
        except OSError as error:
            raise WrongSource(
                f"expected a file that can be read, got {keytab} ({error.strerror}); make it with kadmin: ktadd -k "
                "FILE SERVICE/HOST, and let only the proxy's user read it",
                "keytab",
            ) from None
    service = None if said.service == ANY else said.service
    return Acceptor(
        reactor,
        service,
        keytab=keytab,
        protections=said.protection,
        local_realms=said.local_realms,
        work=sources.tickets_work(),
    )
