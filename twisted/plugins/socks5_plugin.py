"""Tells Twisted that there is a ``socks5`` service for ``twistd``, sources of users for ``--auth``, and strings for
client endpoints; what they are is imported when asked for.

Nothing here may fail: to the user, an ImportError in a plugin is only "Unknown command: socks5".
"""

from typing import Any

from twisted.application.service import ServiceMaker
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.strcred import ICheckerFactory
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
)
from twisted.plugin import IPlugin
from twisted.python.reflect import namedAny
from zope.interface import implementer

socks5_service = ServiceMaker(
    "socks5 proxy", "socks5.app.assembly", "A SOCKS5 proxy (RFC 1928, 1929).", "socks5"
)


@implementer(IPlugin, ICheckerFactory)
class Source:
    """A source of users. See :class:`twisted.cred.strcred.ICheckerFactory`."""

    def __init__(
        self, auth_type: str, make: str, arguments: str, text: str, has_secrets: bool = False
    ) -> None:
        kinds = (IUsernamePassword, IUsernameHashedPassword)
        self.credentialInterfaces = kinds if has_secrets else kinds[:1]
        self.authType = auth_type
        self.argStringFormat = arguments
        self.authHelp = text
        self._make = make

    def generateChecker(self, argstring: str) -> Any:
        """See :meth:`twisted.cred.strcred.ICheckerFactory.generateChecker`."""
        return namedAny(self._make)(argstring)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class ClientStrings:
    """``socks5:HOST:PORT`` for :func:`twisted.internet.endpoints.clientFromString`."""

    prefix = "socks5"

    def parseStreamClient(
        self, reactor: Any, *args: object, **kwargs: object
    ) -> IStreamClientEndpoint:
        """See :meth:`twisted.internet.interfaces.IStreamClientEndpointStringParserWithReactor.parseStreamClient`."""
        endpoint: IStreamClientEndpoint = namedAny("socks5.client.strings.parse")(
            reactor, args, kwargs
        )
        return endpoint


client_strings = ClientStrings()

htpasswd = Source(
    "htpasswd",
    "socks5.app.sources.htpasswd",
    "FILE[:groups=FILE]",
    """
A file with a line NAME:HASH for each user; hashes of argon2, bcrypt, sha512-crypt, sha256-crypt and
apr1. Make an entry with `socks5 passwd FILE NAME`. The file is read again when it changes.
The file of groups has lines GROUP: NAME NAME. Instead of a path, credential=NAME is a file that
systemd hands to the service.
""",
)

secrets = Source(
    "secrets",
    "socks5.app.sources.secrets",
    "FILE",
    """
A file with a line NAME:SECRET for each user, UTF-8, in plain text: for clients that log in by CHAP, which
shows nobody the secret, such as PuTTY, and for those that send it as a password. Only its owner may have
access to the file (mode 600). It is read again when it changes. Instead of a path, credential=NAME is a
file that systemd hands to the service.
""",
    has_secrets=True,
)

pam = Source(
    "pam",
    "socks5.app.sources.pam",
    "SERVICE",
    """
What this machine's PAM says, under the name of a service that has a file in /etc/pam.d. Needs
`pip install txsocks5[pam]`.
""",
)

ldap = Source(
    "ldap",
    "socks5.app.sources.ldap",
    "FILE",
    """
Whoever can bind to an LDAP directory. The file, TOML, says where it is and how users are found: uri,
and user_dn or search_base; see the documentation. Needs `pip install txsocks5[ldap]`.
""",
)
