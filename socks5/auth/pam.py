"""What the system's PAM says of a user name and a password. Needs python-pam (the extra ``pam``)."""

from __future__ import annotations

import os

from twisted.cred.error import UnauthorizedLogin
from twisted.logger import Logger

from socks5.auth import Known, LoginNotJudged
from socks5.auth.users import WrongSource, spellings
from socks5.files import read
from socks5.loglimit import Sparing

THREADS = 16
"""Logins at a time: a module may wait for seconds after a wrong password."""

SHARE = THREADS // 2
"""What of that may be one client's, for wrong passwords would hold them all for those seconds."""

FOLDERS = ("/etc/pam.d", "/usr/lib/pam.d")
"""Where services have their files."""

_OUT_OF_ORDER = frozenset({1, 2, 3, 4, 5, 9, 26, 28})
"""Codes that are no verdict: PAM_OPEN_ERR, _SYMBOL_ERR, _SERVICE_ERR, _SYSTEM_ERR, _BUF_ERR,
_AUTHINFO_UNAVAIL, _ABORT, _MODULE_UNKNOWN.
"""


class Service:
    """A service of PAM.

    :param name: of its file.
    :raises WrongSource: it has none, python-pam is not installed, or PAM is not.
    """

    log = Logger()

    def __init__(self, name: str) -> None:
        try:
            import pam
        except ImportError:
            raise WrongSource("needs python-pam: pip install 'txsocks5[pam]'") from None
        try:
            pam.PamAuthenticator()
        except Exception as error:  # of another module called so, or of a library that is not there
            raise WrongSource(
                f"needs PAM and python-pam 2.1 or later, got {pam!r} ({type(error).__name__}): "
                "pip install 'txsocks5[pam]', and the system's libpam"
            ) from None
        name = name.lower()  # as PAM does
        if name in ("", ".", "..", "other") or "/" in name or _file_of(name) is None:
            # PAM would ask its service "other" then, which may let in anybody with an account.
            raise WrongSource(
                f"expected a service that has a file in {FOLDERS[0]}, got {name!r}", "service"
            )
        if os.geteuid() == 0 and _believes_root(name):
            raise WrongSource(
                f"{name} has pam_rootok, with which PAM takes every password while the proxy is root; "
                "expected a service of the proxy's own",
                "service",
            )
        self._name = name
        self._lines = Sparing(lines=1)

    def judge(self, name: bytes, password: bytes) -> Known:
        """Ask PAM, for either of two :func:`~socks5.auth.users.spellings`. Blocks; may be called from several
        threads.

        An account without a password stays out, although the service may say ``nullok``, with which
        PAM's own module takes every password for right.

        :raises twisted.cred.error.UnauthorizedLogin: PAM refuses, the password is empty, or a NUL is in
            what PAM is asked.
        :raises LoginNotJudged: PAM is out of order.
        """
        if not password or b"\0" in name + password:
            raise UnauthorizedLogin("PAM takes no NUL, and we no empty password")
        for own_name, own_password in spellings(name, password):
            if self._allows(own_name, own_password):
                return Known(own_name)
        raise UnauthorizedLogin("PAM refuses this login")

    def _allows(self, name: bytes, password: bytes) -> bool:
        """:raises LoginNotJudged: PAM is out of order."""
        import pam

        asked = pam.PamAuthenticator()
        ask = asked.pam_authenticate
        asked.pam_authenticate = lambda handle, flags: ask(
            handle, flags | pam.PAM_DISALLOW_NULL_AUTHTOK
        )
        # Not just true: python-pam before 2.0.2 gives PAM's code, which is 0 for a right password.
        if asked.authenticate(name, password, service=self._name, resetcreds=False) is True:
            return True
        if asked.code in _OUT_OF_ORDER:
            raise self._not_judged(asked.code)
        return False

    def _not_judged(self, code: int) -> LoginNotJudged:
        if (left_out := self._lines.next()) is not None:
            self.log.error(
                "PAM cannot judge logins for the service {service}: error {code} (see pam(3)); times: {count}",
                service=self._name,
                code=code,
                count=left_out + 1,
            )
        return LoginNotJudged("PAM is out of order")


def _file_of(service: str) -> str | None:
    """The file of a service, if there is one."""
    paths = (os.path.join(folder, service) for folder in FOLDERS)
    return next(filter(os.path.isfile, paths), None)


def _believes_root(service: str) -> bool:
    """Whether a service lets in root, and whomever root names, without asking for more: by its file, or by one
    that this includes (pam.d(5)).

    :raises WrongSource: one of them cannot be read.
    """
    left, seen = [service], set()
    while left:
        path = _file_of(left.pop())
        if path is None or path in seen:
            continue
        seen.add(path)
        try:
            text = read(path).replace(b"\\\n", b" ")
        except OSError as error:
            raise WrongSource(f"{path}: {error.strerror}", "service") from None
        for line in text.splitlines():
            words = os.fsdecode(line.partition(b"#")[0]).split()
            if any("pam_rootok" in word for word in words):
                return True
            if words[:1] == ["@include"] or words[1:2] in (["include"], ["substack"]):
                left += words[-1:]
    return False
