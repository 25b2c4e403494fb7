"""The sources of ``--auth``: what stands behind ``TYPE:`` becomes a checker.

``twisted/plugins/socks5_plugin.py`` names these functions, so other programs with ``--auth`` can use
them too. That is why the reactor is none of their parameters; it is asked for at the first login.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import findCheckerFactories

from socks5.auth.directory import Directory
from socks5.auth.files import Plainly, UserFile
from socks5.auth.secrets import Secrets, parse_shared
from socks5.auth.users import Entry, Plain, Users, WrongSource, parse_hash, parse_plain
from socks5.auth.work import Direct, Remembered, Threaded, Work

CREDENTIAL = "credential="
"""Before a name instead of a path: a file that systemd hands to the service (``LoadCredential=``)."""


def htpasswd(argument: str) -> ICredentialsChecker:
    """``FILE`` or ``FILE:groups=FILE``: names and hashes.

    :raises WrongSource: says what is wrong with which file.
    """
    path, has_groups, groups = argument.partition(_GROUPS)
    return htpasswd_of(located(path), located(groups) if has_groups else "")


def htpasswd_of(path: str, groups: str = "") -> ICredentialsChecker:
    """A file of names and hashes, and perhaps one of groups.

    :raises WrongSource: says what is wrong with which file.
    """
    file = UserFile(path, parse_hash, groups)
    checker = Threaded(file.judge, shared_work())
    return Remembered(checker, file.stamp, file=file)


def passwords_in_file(argument: str) -> ICredentialsChecker:
    """``FILE``: names and passwords in plain text.

    :raises WrongSource: says what is wrong with the file.
    """
    return passwords_of(located(argument))


def passwords_of(path: str) -> ICredentialsChecker:
    """A file of names and passwords in plain text.

    :raises WrongSource: says what is wrong with the file.
    """
    return Plainly(UserFile(path, parse_plain), _work_for(path, threads=1))


def secrets(argument: str) -> ICredentialsChecker:
    """``FILE``: names and secrets in plain text, which serve for CHAP as well.

    :raises WrongSource: says what is wrong with the file; that others have access to it is. One that systemd hands to
        the service is left to systemd.
    """
    return secrets_of(located(argument), is_private=not argument.startswith(CREDENTIAL))


def secrets_of(path: str, is_private: bool = True) -> ICredentialsChecker:
    """A file of names and secrets in plain text.

    :param is_private: whether nobody but its owner may have access to it.
    :raises WrongSource: says what is wrong with the file; that others have access to it is.
    """
    return Secrets(UserFile(path, parse_shared, is_private=is_private), _work_for(path, threads=1))


def passwords_on_command_line(argument: str) -> ICredentialsChecker:
    """``NAME:PASSWORD:NAME:PASSWORD``, as octets.

    :raises WrongSource: a name without a password; quotes nothing.
    """
    pieces = os.fsencode(argument).split(b":") if argument else []
    if len(pieces) % 2:
        raise WrongSource("expected NAME:PASSWORD:NAME:PASSWORD, a password for each name")
    if not all(pieces):
        raise WrongSource("expected NAME:PASSWORD:NAME:PASSWORD, and none of them empty")
    logins = zip(pieces[::2], pieces[1::2], strict=True)
    return Direct(Users({name: Entry(Plain(password)) for name, password in logins}).judge)


def pam(argument: str) -> ICredentialsChecker:
    """``SERVICE``: what the system's PAM says.

    :raises WrongSource: there is no such service, or python-pam is not installed.
    """
    from socks5.auth.pam import SHARE, THREADS, Service

    service = Service(argument)
    # In threads of their own: a module may wait for seconds, on purpose or for another machine.
    return Remembered(Threaded(service.judge, _work_for(f"pam {argument}", THREADS, SHARE)))


def ldap(argument: str) -> ICredentialsChecker:
    """``FILE``: the directory that this file describes.

    :raises WrongSource: says what is wrong with the file, or what to install.
    """
    return ldap_of(Directory.read(located(argument)))


def ldap_of(directory: Directory) -> ICredentialsChecker:
    """A directory.

    :raises WrongSource: says what of it cannot be used, or what to install.
    """
    from socks5.auth.ldap import LDAPChecker

    return Remembered(LDAPChecker(directory, _reactor))


SOURCES: dict[str, Callable[[str], ICredentialsChecker]] = {
    "file": passwords_in_file,
    "htpasswd": htpasswd,
    "ldap": ldap,
    "pam": pam,
    "memory": passwords_on_command_line,
    "secrets": secrets,
}
"""By the TYPE; those of the same name that come with Twisted are not used."""


def types() -> list[str]:
    """What may stand before the colon of ``--auth``: ours, and those of plugins."""
    factories = [
        each.authType
        for each in findCheckerFactories()
        if IUsernamePassword in each.credentialInterfaces
    ]
    return sorted({*SOURCES, *factories})


def is_type(kind: str) -> bool:
    """Whether a source of that name is ours, or a plugin's. Those are looked at only if it is not ours."""
    return kind in SOURCES or any(each.authType == kind for each in findCheckerFactories())


_WITH_FILES = ("file", "htpasswd", "ldap", "secrets")
"""What stands behind the colon of these is the path of a file."""

_GROUPS = ":groups="


def in_folder(kind: str, argument: str, folder: str) -> str:
    """The argument of a source, with paths that are relative to *folder* in full."""
    if kind not in _WITH_FILES:
        return argument
    paths = argument.split(_GROUPS, 1) if kind == "htpasswd" else [argument]
    full = (
        each
        if not each or each.startswith(CREDENTIAL)
        else os.path.join(folder, os.path.expanduser(each))
        for each in paths
    )
    return _GROUPS.join(full)


def located(path: str) -> str:
    """The path of a file: itself, or that of a systemd credential.

    :raises WrongSource: there is none.
    """
    if not path.startswith(CREDENTIAL):
        if not path:
            raise WrongSource("expected the path of a file")
        return os.path.expanduser(path)
    name = path.removeprefix(CREDENTIAL)
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory or not name or "/" in name:
        raise WrongSource(
            f"{path}: expected the name of a credential in a service that systemd starts with "
            "LoadCredential=NAME:FILE, which sets $CREDENTIALS_DIRECTORY"
        )
    return os.path.join(directory, name)


@cache
def _work_for(source: str, threads: int, share: int | None = None) -> Work:
    """The threads of one source: also when it is made anew, for those of before would stay."""
    return Work(_reactor, threads, share)


TICKETS_AT_ONCE = 4
"""Steps of logins to one upstream: one may have to ask a KDC, which may be silent."""

UNBOUNDED = 1 << 30


@cache
def proxy_work(upstream: str) -> Work:
    """The threads of this process that log in to an upstream by tickets, of any policy. No client has more than half
    of them. Whoever waits for one has a place at the upstream, of which there are only so many.
    """
    share = TICKETS_AT_ONCE // 2
    return Work(_reactor, TICKETS_AT_ONCE, share, waiting=UNBOUNDED, waiting_of_one=UNBOUNDED)


@cache
def tickets_work() -> Work:
    """The threads of this process that look at tickets."""
    return Work(_reactor)


@cache
def shared_work() -> Work:
    """The threads of this process that hash, for all sources together."""
    return Work(_reactor)


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor
