"""A SOCKS5 proxy (RFC 1928, RFC 1929) on Twisted.

The names here are the public ones. Each is imported when it is asked for, so that the package itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socks5.access import Access, IUser, Reason, SessionInfo, Verdict
    from socks5.auth import NoAuthentication, PasswordAuthentication
    from socks5.auth.kerberos import Acceptor
    from socks5.interfaces import (
        IAcceptor,
        IAccessLog,
        IAuthenticator,
        IBans,
        IDialer,
        ILogin,
        ILoginSession,
        IManagedSession,
        IMethod,
        IProtection,
        IResolver,
        IRules,
        ISessions,
        IStream,
        Policy,
    )
    from socks5.net.listening import listen, listen_from
    from socks5.net.places import TCP, UNIX, Inherited, Listen
    from socks5.net.resolver import Resolver
    from socks5.net.tls import tls_endpoint
    from socks5.observe.accesslog import AccessLog, as_json
    from socks5.outbound.direct import DirectDialer
    from socks5.policy.rules import Rules
    from socks5.protocol.address import Address
    from socks5.protocol.errors import SOCKSError
    from socks5.protocol.gssapi import Protection
    from socks5.protocol.messages import Command, ReplyCode
    from socks5.protocol.networks import Networks
    from socks5.server.chap_login import CHAP
    from socks5.server.factory import ServerFactory
    from socks5.settings import (
        Capacity,
        ListenerPolicy,
        OutgoingFamily,
        PerFamily,
        Settings,
        UDPFiltering,
        UDPPin,
    )

__all__ = [
    "CHAP",
    "TCP",
    "UNIX",
    "Acceptor",
    "Access",
    "AccessLog",
    "Address",
    "Capacity",
    "Command",
    "DirectDialer",
    "IAcceptor",
    "IAccessLog",
    "IAuthenticator",
    "IBans",
    "IDialer",
    "ILogin",
    "ILoginSession",
    "IManagedSession",
    "IMethod",
    "IProtection",
    "IResolver",
    "IRules",
    "ISessions",
    "IStream",
    "IUser",
    "Inherited",
    "Listen",
    "ListenerPolicy",
    "Networks",
    "NoAuthentication",
    "OutgoingFamily",
    "PasswordAuthentication",
    "PerFamily",
    "Policy",
    "Protection",
    "Reason",
    "ReplyCode",
    "Resolver",
    "Rules",
    "SOCKSError",
    "ServerFactory",
    "SessionInfo",
    "Settings",
    "UDPFiltering",
    "UDPPin",
    "Verdict",
    "as_json",
    "listen",
    "listen_from",
    "tls_endpoint",
]

_HOMES = {
    "CHAP": "socks5.server.chap_login",
    "IUser": "socks5.access",
    "SessionInfo": "socks5.access",
    "Reason": "socks5.access",
    "Capacity": "socks5.settings",
    "Policy": "socks5.interfaces",
    "ISessions": "socks5.interfaces",
    "IMethod": "socks5.interfaces",
    "IManagedSession": "socks5.interfaces",
    "TCP": "socks5.net.places",
    "UNIX": "socks5.net.places",
    "Acceptor": "socks5.auth.kerberos",
    "Access": "socks5.access",
    "AccessLog": "socks5.observe.accesslog",
    "Address": "socks5.protocol.address",
    "Command": "socks5.protocol.messages",
    "DirectDialer": "socks5.outbound.direct",
    "IAcceptor": "socks5.interfaces",
    "IAccessLog": "socks5.interfaces",
    "IAuthenticator": "socks5.interfaces",
    "IBans": "socks5.interfaces",
    "IDialer": "socks5.interfaces",
    "ILogin": "socks5.interfaces",
    "ILoginSession": "socks5.interfaces",
    "IProtection": "socks5.interfaces",
    "IResolver": "socks5.interfaces",
    "IRules": "socks5.interfaces",
    "IStream": "socks5.interfaces",
    "Inherited": "socks5.net.places",
    "Listen": "socks5.net.places",
    "ListenerPolicy": "socks5.settings",
    "Networks": "socks5.protocol.networks",
    "NoAuthentication": "socks5.auth",
    "OutgoingFamily": "socks5.settings",
    "PasswordAuthentication": "socks5.auth",
    "PerFamily": "socks5.settings",
    "Protection": "socks5.protocol.gssapi",
    "ReplyCode": "socks5.protocol.messages",
    "Resolver": "socks5.net.resolver",
    "Rules": "socks5.policy.rules",
    "SOCKSError": "socks5.protocol.errors",
    "ServerFactory": "socks5.server.factory",
    "Settings": "socks5.settings",
    "UDPFiltering": "socks5.settings",
    "UDPPin": "socks5.settings",
    "Verdict": "socks5.access",
    "as_json": "socks5.observe.accesslog",
    "listen": "socks5.net.listening",
    "listen_from": "socks5.net.listening",
    "tls_endpoint": "socks5.net.tls",
}


def __getattr__(name: str) -> Any:
    """A public name, from where it is defined."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
