"""The options of GSSAPI: who has a ticket comes in (RFC 1961).

What can be wrong is found at the start, with one sentence: the keytab is opened as it will be opened for
the first client.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.python import usage

from socks5.app.sources import located
from socks5.app.values import ANY_SERVICE
from socks5.auth.kerberos import PROTECTIONS, Acceptor
from socks5.auth.users import WrongSource
from socks5.logins import IAcceptor


class KerberosOptions(usage.Options):
    """Mixed into the options of the command line."""

    def take_keytab(self, text: str) -> None:
        """The path, which holds wherever the process goes from here.

        :raises ValueError: nobody can read that.
        """
        try:
            path = os.path.abspath(located(text.removeprefix("FILE:")))
            with open(path, "rb"):
                self["keytab"] = path
        except OSError as error:
            raise ValueError(
                f"expected a file that can be read, got {text!r} ({error.strerror}); make it with "
                "kadmin: ktadd -k FILE SERVICE/HOST, and let only the proxy's user read it"
            ) from None

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
                None if self["gssapi"] == ANY_SERVICE else self["gssapi"],
                keytab=self["keytab"],
                protections=self["gssapi-protection"] or PROTECTIONS,
                local_realms=self["gssapi-local-realm"],
            )
        except WrongSource as error:
            place = f", --keytab {self['keytab']}" if self["keytab"] else ""
            raise usage.UsageError(f"--gssapi {self['gssapi']}{place}: {error}") from None
