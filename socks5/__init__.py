"""A SOCKS5 proxy (RFC 1928, RFC 1929) on Twisted.

The names here are the public ones. Each is imported when it is asked for, so that the package itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socks5.access import Access, IUser, Reason, SessionInfo, Verdict
    from socks5.auth import Known, NoAuthentication, PasswordAuthentication, User
    from socks5.auth.kerberos import Acceptor
    from socks5.auth.work import Remembered, Threaded, Work
    from socks5.interfaces import (
        IAccessLog,
        IDatagramMeter,
        IDatagramReceiver,
        IDatagrams,
        IDialer,
        IManagedSession,
        IPeerPort,
        IResolver,
        IRules,
        ISessions,
        Judge,
        Policy,
    )
    from socks5.limits import ILease, ILimits
    from socks5.logins import (
        IAcceptor,
        IAuthenticator,
        IBans,
        ILogin,
        ILoginSession,
        IMethod,
        IProtection,
    )
    from socks5.net.listening import listen, listen_from
    from socks5.net.openers import IOpenPort, IServedPort
    from socks5.net.places import TCP, UNIX, Inherited, Listen
    from socks5.net.resolver import Resolver
    from socks5.net.tls import tls_endpoint
    from socks5.observe.accesslog import AccessLog, as_json, as_text
    from socks5.outbound.attempts import Stream
    from socks5.outbound.direct import DirectDialer
    from socks5.outbound.ways import Upstreams
    from socks5.policy.limit import Limit
    from socks5.policy.limits import Limits
    from socks5.policy.rules import Rules
    from socks5.policy.ruleset import Rule, Ruleset
    from socks5.protocol.address import Address
    from socks5.protocol.errors import ReplyError, SOCKSError
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
    from socks5.streams import IStream
else:

    def __getattr__(name: str) -> Any:
        """A public name, from where it is defined."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found


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
    "IDatagramMeter",
    "IDatagramReceiver",
    "IDatagrams",
    "IDialer",
    "ILease",
    "ILimits",
    "ILogin",
    "ILoginSession",
    "IManagedSession",
    "IMethod",
    "IOpenPort",
    "IPeerPort",
    "IProtection",
    "IResolver",
    "IRules",
    "IServedPort",
    "ISessions",
    "IStream",
    "IUser",
    "Inherited",
    "Judge",
    "Known",
    "Limit",
    "Limits",
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
    "Remembered",
    "ReplyCode",
    "ReplyError",
    "Resolver",
    "Rule",
    "Rules",
    "Ruleset",
    "SOCKSError",
    "ServerFactory",
    "SessionInfo",
    "Settings",
    "Stream",
    "Threaded",
    "UDPFiltering",
    "UDPPin",
    "Upstreams",
    "User",
    "Verdict",
    "Work",
    "as_json",
    "as_text",
    "listen",
    "listen_from",
    "tls_endpoint",
]

_HOMES = {
    name: home
    for home, names in {
        "socks5.access": "Access IUser Reason SessionInfo Verdict",
        "socks5.auth": "Known NoAuthentication PasswordAuthentication User",
        "socks5.auth.kerberos": "Acceptor",
        "socks5.auth.work": "Remembered Threaded Work",
        "socks5.interfaces": "IAccessLog IDatagramMeter IDatagramReceiver IDatagrams IDialer "
        "IManagedSession IPeerPort IResolver IRules ISessions Judge Policy",
        "socks5.limits": "ILease ILimits",
        "socks5.logins": "IAcceptor IAuthenticator IBans ILogin ILoginSession IMethod IProtection",
        "socks5.net.listening": "listen listen_from",
        "socks5.net.openers": "IOpenPort IServedPort",
        "socks5.net.places": "TCP UNIX Inherited Listen",
        "socks5.net.resolver": "Resolver",
        "socks5.net.tls": "tls_endpoint",
        "socks5.observe.accesslog": "AccessLog as_json as_text",
        "socks5.outbound.attempts": "Stream",
        "socks5.outbound.direct": "DirectDialer",
        "socks5.outbound.ways": "Upstreams",
        "socks5.policy.limit": "Limit",
        "socks5.policy.limits": "Limits",
        "socks5.policy.rules": "Rules",
        "socks5.policy.ruleset": "Rule Ruleset",
        "socks5.protocol.address": "Address",
        "socks5.protocol.errors": "ReplyError SOCKSError",
        "socks5.protocol.gssapi": "Protection",
        "socks5.protocol.messages": "Command ReplyCode",
        "socks5.protocol.networks": "Networks",
        "socks5.server.chap_login": "CHAP",
        "socks5.server.factory": "ServerFactory",
        "socks5.settings": "Capacity ListenerPolicy OutgoingFamily PerFamily Settings UDPFiltering "
        "UDPPin",
        "socks5.streams": "IStream",
    }.items()
    for name in names.split()
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
