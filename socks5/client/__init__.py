"""Through SOCKS5 proxies, as their client.

The names here are the public ones.
"""

from socks5.client.datagram_port import DatagramPort
from socks5.client.datagrams import UDP
from socks5.client.endpoint import Proxy, ProxyEndpoint
from socks5.client.errors import (
    AddressTypeNotSupported,
    ClientError,
    CommandNotSupported,
    ConnectionRefused,
    GeneralFailure,
    HostUnreachable,
    NameNotFound,
    NetworkUnreachable,
    NotAllowed,
    ProxyAuthError,
    ProxyClosed,
    ProxyProtocolError,
    ProxyTimeout,
    ProxyUnreachable,
    ReplyError,
    TTLExpired,
)
from socks5.client.listener import BindPort
from socks5.client.transport import Tunnel, tunnel_of

__all__ = [
    "UDP",
    "AddressTypeNotSupported",
    "BindPort",
    "ClientError",
    "CommandNotSupported",
    "ConnectionRefused",
    "DatagramPort",
    "GeneralFailure",
    "HostUnreachable",
    "NameNotFound",
    "NetworkUnreachable",
    "NotAllowed",
    "Proxy",
    "ProxyAuthError",
    "ProxyClosed",
    "ProxyEndpoint",
    "ProxyProtocolError",
    "ProxyTimeout",
    "ProxyUnreachable",
    "ReplyError",
    "TTLExpired",
    "Tunnel",
    "tunnel_of",
]
