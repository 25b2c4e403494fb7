"""The options of GSSAPI: who has a ticket comes in (RFC 1961).

What can be wrong is found at the start, with one sentence: the keytab is opened as it will be opened for
the first client.
"""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar

from twisted.python import usage

from socks5.app.sources import located
from socks5.auth.kerberos import PROTECTIONS, Acceptor
from socks5.auth.users import WrongSource
from socks5.logins import IAcceptor
from socks5.protocol.gssapi import Protection

ANY = "any"
"""The SERVICE that stands for every key of the keytab."""

PROTECTION_NAMES = {
    "none": Protection.NONE,
    "integrity": Protection.INTEGRITY,
    "confidentiality": Protection.CONFIDENTIALITY,
}
"""How the command line calls the levels of RFC 1961 section 4.2."""

_SERVICE = re.compile(r"[A-Za-z0-9_.-]+(@[A-Za-z0-9_.:-]+)?")


def _service(text: str) -> str:
    if not _SERVICE.fullmatch(text):
        raise usage.UsageError(
            f"--gssapi: expected SERVICE, SERVICE@HOST or {ANY}, such as rcmd or rcmd@proxy.example, "
            f"got {text!r}"
        )
    return text


def _keytab(text: str) -> str:
    """The path, which holds wherever the process goes from here.

    :raises twisted.python.usage.UsageError: nobody can read that.
    """
    try:
        path = os.path.abspath(located(text.removeprefix("FILE:")))
        with open(path, "rb"):
            return path
    except WrongSource as error:
        raise usage.UsageError(f"--keytab: {error}") from None
    except OSError as error:
        raise usage.UsageError(
            f"--keytab: expected a file that can be read, got {text!r} ({error.strerror}); make it with "
            "kadmin: ktadd -k FILE SERVICE/HOST, and let only the proxy's user read it"
        ) from None


def _protections(text: str) -> tuple[Protection, ...]:
    names = text.split(",")
    if not set(names) <= PROTECTION_NAMES.keys():
        raise usage.UsageError(
            f"--gssapi-protection: expected some of {','.join(PROTECTION_NAMES)}, got {text!r}"
        )
    return tuple(level for name, level in PROTECTION_NAMES.items() if name in names)


class KerberosOptions(usage.Options):
    """Mixed into the options of the command line."""

    optParameters: ClassVar = [
        [
            "gssapi",
            None,
            None,
            "Let in who has a Kerberos ticket for SERVICE or SERVICE@HOST; any: for any key of the keytab.",
            _service,
        ],
        ["keytab", None, None, "File with the keys of --gssapi. [default: the system's]", _keytab],
        [
            "gssapi-protection",
            None,
            None,
            "Which of none,integrity,confidentiality a client may get. [default: integrity,confidentiality]",
            _protections,
        ],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["gssapi-local-realm"] = ()

    def opt_gssapi_local_realm(self, realm: str) -> None:
        """Kerberos realm whose users are known without @REALM; repeatable. [default: none]"""
        if not realm or "@" in realm:
            raise usage.UsageError(
                f"--gssapi-local-realm: expected a realm, such as EXAMPLE.ORG, got {realm!r}"
            )
        self["gssapi-local-realm"] += (realm,)

    def check_gssapi(self) -> None:
        """Refuse what cannot work.

        :raises twisted.python.usage.UsageError: says what to do.
        """
        if self["gssapi"] is not None:
            self.contexts(None)
            return
        for option in ("keytab", "gssapi-protection", "gssapi-local-realm"):
            if self[option]:
                raise usage.UsageError(
                    f"--{option}: expected --gssapi SERVICE as well, without it nobody is asked for a ticket"
                )

    def contexts(self, reactor: Any) -> IAcceptor | None:
        """What takes the clients' tokens, or None without ``--gssapi``.

        :param reactor: None to look only whether it can be had.
        :raises twisted.python.usage.UsageError: it cannot.
        """
        if self["gssapi"] is None:
            return None
        try:
            return Acceptor(
                reactor,
                None if self["gssapi"] == ANY else self["gssapi"],
                keytab=self["keytab"],
                protections=self["gssapi-protection"] or PROTECTIONS,
                local_realms=self["gssapi-local-realm"],
            )
        except WrongSource as error:
            place = f", --keytab {self['keytab']}" if self["keytab"] else ""
            raise usage.UsageError(f"--gssapi {self['gssapi']}{place}: {error}") from None
