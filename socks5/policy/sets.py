"""Sets of networks and names, as rules name them, and what may stand in them.

However large a set is, a question costs about the same: ranges are merged and found by bisection, names by a look-up
for each label, and names with an asterisk within by one regular expression for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from twisted.internet.error import DNSLookupError

from socks5.names import hostname, literal
from socks5.policy.ranges import Ranges, quoted, range_of
from socks5.policy.special import NETWORKS, RESERVED, UNICAST, Network
from socks5.protocol.networks import network_of

_ORDINARY = re.compile(r"(?:\*?\.)?(?=.{1,253}\Z)(?:[a-z0-9_-]{1,63}\.)*[a-z_-][a-z0-9_-]{0,62}\Z")
"""What most names are, which are looked at in a fifth of the time: no address, and in the form that is compared."""

_SET = re.compile(r"@[a-z0-9][a-z0-9-]*\Z")
_PREFIX = re.compile(r"[^/]+/[0-9]{1,3}\Z")
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//(?:[^/@]*@)?([^/:@]+)", re.IGNORECASE)
_WITH_PORT = re.compile(r"[^:]+:[0-9]+\Z")

SELF, LOCAL, UNIX = "self", "local", "unix"
"""Sets that are no list of networks: this host's addresses, and clients that are certainly on it."""

ABOUT_CLIENTS = frozenset({LOCAL, UNIX})
"""Those that only ``clients`` has."""

BUILT_IN = frozenset({*NETWORKS, "public", SELF, *ABOUT_CLIENTS})
"""The names of the sets of networks that are always there."""


# ---------------------------------------------------------------- what may be written


def _set_name(text: str, what: str, may_be_set: bool) -> str:
    """The name of ``@NAME``.

    :raises ValueError: it cannot be one, or is none that may stand here.
    """
    if not may_be_set:
        raise ValueError(f"expected {what}, got {quoted(text)}; sets do not nest")
    if _SET.match(text) is None:
        raise ValueError(
            f'expected @ and a name of small letters, digits and "-", got {quoted(text)}'
        )
    return text[1:]


def check_network(text: str, may_be_set: bool = True) -> Network | str:
    """What stands among ``networks``.

    :param may_be_set: whether it may be ``@NAME``; not within a set.
    :returns: the network, an IPv4-mapped one as IPv4; or the set's name: that there is such a set is not asked.
    :raises ValueError: it is neither. What it says is a sentence for whoever wrote it.
    """
    what = "a network or @set" if may_be_set else "a network"
    if text.startswith("@"):
        name = _set_name(text, what, may_be_set)
        if name in ABOUT_CLIENTS:
            raise ValueError(
                f"expected {what}, got {quoted(text)}, which only clients of rules can be"
            )
        return name
    if "%" not in text and ("/" not in text or _PREFIX.match(text)):
        try:
            return network_of(text)
        except ValueError:
            pass
    raise ValueError(f"expected {what}, got {quoted(text)}; {_instead_of_network(text)}")


def _instead_of_network(text: str) -> str:
    if "%" in text:
        return "an address of a set has no zone"
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        pass
    else:
        host = text.partition("/")[0]
        return f'did you mean "{network}", or "{host}"?'
    try:
        check_name(text, may_be_set=False)
    except ValueError:
        return 'write "10.0.0.0/8", "10.0.0.1" or "@private"'
    return "names are another key"


def check_client(text: str) -> Network | str:
    """What stands among the ``clients`` of a rule: as :func:`check_network`, or ``@local`` or ``@unix``.

    :raises ValueError: likewise.
    """
    return text[1:] if text[:1] == "@" and text[1:] in ABOUT_CLIENTS else check_network(text)


def check_name(text: str, may_be_set: bool = True) -> str:
    """What stands among ``names``: ``www.example.com``, ``.example.com``, ``*.example.com``, ``ad*.example.com``,
    or ``*`` for any name.

    :param may_be_set: see :func:`check_network`.
    :returns: the same in the form that names are compared in; ``@NAME`` as it is.
    :raises ValueError: it is none of these.
    """
    if _ORDINARY.match(text) is not None:
        return text
    what = "a name, .suffix or @set" if may_be_set else "a name or .suffix"
    if text.startswith("@"):
        return "@" + _set_name(text, what, may_be_set)
    if text == "*":
        return text
    lead = "." if text.startswith(".") else "*." if text.startswith("*.") else ""
    rest = text[len(lead) :]
    try:
        if literal(rest.encode()) is None and (rest.isascii() or "*" not in rest):
            return lead + plain_name(rest.encode())
    except (DNSLookupError, UnicodeError):
        pass
    raise ValueError(f"expected {what}, got {quoted(text)}; {_instead_of_name(rest)}")


def _instead_of_name(text: str) -> str:
    url = _URL.match(text)
    if url is not None:
        return f"write {quoted(url[1])}"
    if _is_network(text):
        return "addresses belong to networks"
    if _WITH_PORT.match(text):
        return "a port belongs to ports"
    if not text.isascii() and "*" in text:
        return "with an asterisk within, write it in its ASCII form"
    return 'write "www.example.com", ".example.com" or "*.example.com"'


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return literal(text.encode("utf-8", "replace")) is not None
    return True


def plain_name(name: bytes) -> str:
    """A name in the form that names are compared in: the one that is asked for, without a dot at its end.

    :raises twisted.internet.error.DNSLookupError: it cannot be the name of a host.
    """
    text = hostname(name)
    return text[:-1] if text.endswith(".") else text


# ---------------------------------------------------------------- sets


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """Entries of a set that stand in a file of their own.

    :param place: the file.
    :param entries: what is in it.
    """

    place: str
    entries: Sequence[str]


Entries = Sequence[str | Listed]
"""What a set is made of."""


def entries_of(entries: Entries) -> Iterator[str]:
    """All of them, those of files too."""
    for each in entries:
        if isinstance(each, Listed):
            yield from each.entries
        else:
            yield each


def size_of(entries: Entries) -> str:
    """How a set is described, in words."""
    files = sum(isinstance(each, Listed) for each in entries)
    count = f"{len(entries)} entries" if len(entries) != 1 else "1 entry"
    if not files:
        return count
    return f"{count}, a file" if len(entries) == 1 else f"{count}, {files} of them a file"


def network_ranges(entries: Entries) -> Ranges:
    """Networks, but for sets.

    :raises ValueError: see :func:`check_network`.
    """
    found = []
    for text in entries_of(entries):
        network = check_network(text, may_be_set=False)
        assert isinstance(network, IPv4Network | IPv6Network)
        found.append(range_of(network))
    return Ranges(found)


def _built_in() -> Mapping[str, Ranges]:
    """Those that are lists."""
    listed = {name: Ranges(map(range_of, networks)) for name, networks in NETWORKS.items()}
    rest = Ranges(map(range_of, UNICAST))
    for others in (*map(listed.__getitem__, ("special", "private")), _RESERVED):
        rest = rest.without(others)
    return {**listed, "public": rest}


_RESERVED = Ranges(map(range_of, RESERVED))

RANGES: Mapping[str, Ranges] = _built_in()
"""The built-in sets that are lists of networks."""


def names_that_match(name: str) -> tuple[str, ...]:
    """What may stand in a set for a name to be in it, but for asterisks within: the name, and for it and each of its
    suffixes what names them with all below, and for the suffixes what names only what is below.

    :param name: see :func:`plain_name`.
    """
    found = [name, "." + name]
    at = name.find(".")
    while at >= 0:
        rest = name[at:]
        found += (rest, "*" + rest)
        at = name.find(".", at + 1)
    return tuple(found)


def fixed_end(pattern: str) -> str | None:
    """What of a pattern is an entry of :func:`names_that_match` for every name that matches; None: nothing."""
    if "*" not in pattern.removeprefix("*."):
        return pattern if pattern != "*" else None
    rest = pattern[pattern.rindex("*") :]
    dot = rest.find(".")
    return None if dot < 0 else rest[dot:]


def _expression(pattern: str) -> str:
    """A pattern with an asterisk within, as a regular expression whose work grows with the square of a name at most:
    behind each asterisk but the last of a label the first place that fits is as good as any.
    """
    lead, rest = "", pattern
    if pattern.startswith("*"):
        lead, rest = ".*", pattern[1:]
    elif pattern.startswith("."):
        lead, rest = r"(?:.*\.)?", pattern[1:]
    return lead + r"\.".join(map(_label, rest.split(".")))


def _label(label: str) -> str:
    first, *rest = map(re.escape, label.split("*"))
    if not rest:
        return first
    middle = "".join(f"(?>[^.]*?{each})" for each in rest[:-1])
    return f"{first}{middle}[^.]*{rest[-1]}"


class Names:
    """Names, as patterns.

    :param patterns: see :func:`check_name`; no sets.
    """

    __slots__ = ("_expression", "_is_any", "_names")

    def __init__(self, patterns: Iterable[str]) -> None:
        found = {check_name(each, may_be_set=False) for each in patterns}
        within = sorted(each for each in found if "*" in each.removeprefix("*."))
        self._is_any = "*" in found
        self._names = frozenset(found.difference(within) if within else found)
        expressions = "|".join(_expression(each) for each in within if each != "*")
        self._expression = re.compile(rf"(?:{expressions})\Z") if expressions else None

    def has(self, name: str, matching: Iterable[str]) -> bool:
        """Whether *name* is among them.

        :param matching: what :func:`names_that_match` says of it.
        """
        return (
            not self._names.isdisjoint(matching)
            or self._is_any
            or (self._expression is not None and self._expression.match(name) is not None)
        )

    def __contains__(self, name: str) -> bool:
        return self.has(name, names_that_match(name))
