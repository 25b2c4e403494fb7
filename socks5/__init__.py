"""A SOCKS5 proxy (RFC 1928, RFC 1929) on Twisted.

The names here are the public face; everything else is reached through its module.
"""

from socks5.auth import NoAuthentication, PasswordAuthentication
from socks5.interfaces import (
    Access,
    IAcceptor,
    IAccessLog,
    IAuthenticator,
    IBans,
    IDialer,
    IResolver,
    IRules,
)
from socks5.policy.rules import Rules
from socks5.protocol.address import Address
from socks5.protocol.errors import SOCKSError
from socks5.protocol.gssapi import Protection
from socks5.protocol.messages import Command, ReplyCode
from socks5.protocol.networks import Networks
from socks5.server.factory import ServerFactory
from socks5.settings import (
    ListenerPolicy,
    OutgoingFamily,
    PerFamily,
    Settings,
    UDPFiltering,
    UDPPin,
)

__all__ = [
    "Access",
    "Address",
    "Command",
    "IAcceptor",
    "IAccessLog",
    "IAuthenticator",
    "IBans",
    "IDialer",
    "IResolver",
    "IRules",
    "ListenerPolicy",
    "Networks",
    "NoAuthentication",
    "OutgoingFamily",
    "PasswordAuthentication",
    "PerFamily",
    "Protection",
    "ReplyCode",
    "Rules",
    "SOCKSError",
    "ServerFactory",
    "Settings",
    "UDPFiltering",
    "UDPPin",
]
