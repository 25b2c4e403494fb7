"""What a client means by a name: an address after all, or the name of a host in the form that is asked for.

Names arrive as octets. Most are plain ASCII and cost next to nothing here; others are put into the form of
IDNA as browsers do (UTS #46, non-transitional), once.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from socket import (
    AF_INET6,
    if_indextoname,
    if_nametoindex,
    inet_aton,
    inet_ntoa,
    inet_ntop,
    inet_pton,
)

from twisted.internet.error import DNSLookupError

from socks5.protocol.address import Address, unmap

MOST_CONVERTED = 1024
"""Internationalised names whose form is remembered."""

_NUMBER = r"(?:[0-9]+|0[xX][0-9a-fA-F]*)"
"""The last label of what is read as an IPv4 address, or as nothing."""

_LABEL = r"[^\x00-\x20#%/:<>?@\[\\\]^|\x7f.]{1,63}"
"""Without the URL Standard's forbidden domain code points."""

_ENDS_IN_NUMBER = re.compile(rf"(?:.*\.)?{_NUMBER}\Z".encode(), re.DOTALL)
_HOSTNAME = re.compile(rf"(?!.{{254}})(?:{_LABEL}\.)*(?!{_NUMBER}\.?\Z){_LABEL}\.?\Z")


def literal(name: bytes) -> str | None:
    """The IP literal, in its canonical text, that a client sent where a name belongs; None if it is a name.

    IPv6 may stand in brackets, as in URLs. A link-local address may have a zone that this host knows; it
    is kept. IPv4 may have fewer than four numbers, octal or hexadecimal ones, and a dot at its end, all of which
    browsers read as an address, and resolvers but for the dot.
    """
    if b":" in name:
        return _ipv6(name[1:-1] if name.startswith(b"[") and name.endswith(b"]") else name)
    if name.endswith(b"."):
        name = name[:-1]
    if _ENDS_IN_NUMBER.match(name) is None:
        return None
    try:
        return inet_ntoa(inet_aton(name.decode("ascii")))
    except (OSError, ValueError):
        return None


def _ipv6(name: bytes) -> str | None:
    """The same for what can only be IPv6."""
    text, percent, zone = name.decode("ascii", "replace").partition("%")
    try:
        packed = inet_pton(AF_INET6, text)
        if percent:
            if packed[0] != 0xFE or packed[1] & 0xC0 != 0x80:  # only fe80::/10 has zones
                return None
            zone = _interface(zone)
    except (OSError, ValueError, OverflowError):
        return None
    return unmap(inet_ntop(AF_INET6, packed)) + percent + zone


def _interface(zone: str) -> str:
    """The name of an interface, of which there may be the number.

    :raises OSError: this host has none.
    :raises ValueError: it can be neither.
    :raises OverflowError: it is too large a number.
    """
    try:
        return if_indextoname(if_nametoindex(zone))
    except OSError:
        return if_indextoname(int(zone))


def without_false_name(address: Address) -> Address:
    """The address that is meant where an IP literal was sent as a name, as browsers do."""
    if not isinstance(address.host, bytes):
        return address
    host = literal(address.host)
    return address if host is None else Address(host, address.port)


def hostname(name: bytes) -> str:
    """A wire name as the ASCII text that is asked for, in lower case; UTF-8 is put into IDNA form.

    A dot at its end stays: it says that the name is whole. Underscores and ``xn--`` labels pass as they
    are.

    :raises twisted.internet.error.DNSLookupError: it cannot be the name of a host: empty, a label that is
        empty or over 63 octets, over 253 characters, octets that are no text, characters that IDNA or a
        URL do not allow, a number at its end.
    """
    text = name.decode("ascii").lower() if name.isascii() else _converted(name)
    if _HOSTNAME.match(text) is None:
        raise DNSLookupError("not a host name")
    return text


def as_judged(target: Address) -> Address:
    """A target as the rules have seen it: its name by :func:`hostname`, without a dot at its end.

    :raises twisted.internet.error.DNSLookupError: see there.
    """
    if not isinstance(target.host, bytes):
        return target
    return Address(hostname(target.host).removesuffix(".").encode(), target.port)


@lru_cache(MOST_CONVERTED)
def _converted(name: bytes) -> str:
    """A name that is not ASCII in IDNA form; what has none becomes "", which is no name."""
    import idna  # large, and of no use where all names are ASCII

    try:
        return ".".join(map(_label, idna.uts46_remap(name.decode(), std3_rules=False).split(".")))
    except (UnicodeError, ValueError):  # idna's own errors are UnicodeErrors
        return ""


def _label(label: str) -> str:
    """A mapped label in ASCII.

    UTS #46 section 4.1 with CheckBidi and CheckJoiners. That it lets through more than IDNA 2008 is meant:
    browsers ask for symbols.

    :raises UnicodeError: it is not valid.
    """
    import idna

    if label.isascii():
        return label
    idna.check_initial_combiner(label)
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in label):
        idna.check_bidi(label)
    for position, character in enumerate(label):
        if character in "\u200c\u200d" and not idna.valid_contextj(label, position):
            raise idna.InvalidCodepointContext("a joiner out of place")
    return "xn--" + label.encode("punycode").decode()
