"""A command line becomes the tree that a file with the same meaning has, with its options as the places.

What is in the tree is for its reader to judge, as with a file. Paths become absolute: a file's are relative to its
folder.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from twisted.python.usage import UsageError

from socks5.app.config.document import Document, Place
from socks5.app.config.keyed import absolute, kind_of, located
from socks5.app.config.logins import MEMORY
from socks5.app.config.places import Path
from socks5.app.config.tree import named
from socks5.app.config.values import as_toml
from socks5.app.config.wording import AS_OPTIONS
from socks5.app.listeners import LOOPBACK
from socks5.app.rows import OptionRow
from socks5.app.sources import CREDENTIAL, is_type, types
from socks5.net.certificate_files import Files
from socks5.net.certificate_names import NAMES
from socks5.net.foreign import kind_of as endpoint_kind_of
from socks5.net.listening import listen_from
from socks5.net.places import TCP, UNIX

Tree = dict[str, Any]
Said = Iterable[tuple[OptionRow, str]]


@dataclass
class _Section:
    """A table, while options are taken.

    :param place: the option that it is there for.
    """

    place: str
    keys: Tree = field(default_factory=dict, repr=False)
    places: dict[str, str] = field(default_factory=dict)
    """By which option each key was said."""

    def say(self, row: OptionRow, key: str, value: Any) -> None:
        """Take what an option says, together with the one before it, if both count."""
        if row.is_repeatable and key in self.keys:
            both = [*_as_list(self.keys[key]), *_as_list(value)]
            value = list(dict.fromkeys(both))
        self.keys[key] = value
        self.places[key] = f"--{row.name}"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class OptionPlaces:
    """Places on a command line.

    :param options: by their paths.
    """

    options: Mapping[Path, str]

    def of(self, path: Path, is_key: bool) -> Place:
        """See :meth:`socks5.app.config.document.Places.of`."""
        while path and path not in self.options:
            path = path[:-1]
        return Place(self.options.get(path, ""))


def document_of(said: Said) -> Document:
    """What a command line means.

    :param said: its options, in order.
    :raises twisted.python.usage.UsageError: one means nothing; says what was expected.
    """
    sections = _sections(said)
    gssapi = sections.get(("gssapi",))
    if gssapi is not None and "service" not in gssapi.keys:
        raise UsageError(
            f"{gssapi.place}: expected --gssapi SERVICE as well, without it nobody is asked for a ticket"
        )
    tree: Tree = {}
    options: dict[Path, str] = {}
    for path, section in sections.items():
        above = tree
        for step in path[:-1]:
            options.setdefault((step,), section.place)
            above = above.setdefault(step, {})
        above[path[-1]] = section.keys
        options[path] = section.place
        options |= {(*path, key): place for key, place in section.places.items()}
    return Document(tree, OptionPlaces(options), folder="/", wording=AS_OPTIONS)


def _sections(said: Said) -> dict[tuple[str, ...], _Section]:
    """The tables that options are in, by their paths.

    :raises twisted.python.usage.UsageError: see :func:`document_of`.
    """
    found: dict[tuple[str, ...], _Section] = {}
    listeners, sources = _Listeners(), dict[str, _Section]()
    for row, text in said:
        try:
            name, _, key = row.key.partition(".")
            if name == "listener":
                listeners.take(row, text)
            elif name == "auth":
                _add_source(sources, text)
            else:
                section = found.setdefault((name,), _Section(f"--{row.name}"))
                section.say(row, key, row.kind(text))
        except ValueError as error:
            raise UsageError(f"--{row.name}: {error}") from None
    return {
        **{("listener", name): each for name, each in listeners.sections().items()},
        **{("auth", name): each for name, each in sources.items()},
        **found,
    }


# ---------------------------------------------------------------- sources of users


def _add_source(sources: dict[str, _Section], description: str) -> None:
    """Add what ``--auth`` describes, under a name of its own.

    :raises ValueError: there is no such type.
    """
    kind, _, arguments = description.partition(":")
    if not is_type(kind):
        meant = f"; did you mean htpasswd:{kind}?" if os.path.exists(kind) else ""
        raise ValueError(
            f"expected a type of {', '.join(types())} (see --help-auth), got {kind!r}{meant}"
        )
    name = re.sub("[^a-z0-9]+", "-", kind.lower()).strip("-") or "users"
    number = sum(re.fullmatch(rf"{name}(-[0-9]+)?", each) is not None for each in sources) + 1
    section = _Section(f"--auth {kind}", _source(kind, arguments, description))
    sources[name if number == 1 else f"{name}-{number}"] = section


def _source(kind: str, arguments: str, description: str) -> Tree:
    if kind == "htpasswd":
        path, has_groups, groups = arguments.partition(":groups=")
        more = {"groups": located(groups)} if has_groups else {}
        return {"type": kind, "file": located(path), **more}
    if kind in ("file", "secrets"):
        return {"type": kind, "file": located(arguments)}
    if kind == "pam":
        return {"type": kind, "service": arguments}
    if kind == "ldap":  # its file may hold a password, which is not to be copied
        if not arguments.startswith(CREDENTIAL):
            arguments = absolute(arguments)
        return {"type": "plugin", "use": f"{kind}:{arguments}"}
    return {"type": "plugin", "use": description}


def hidden_in(tree: Mapping[str, Any]) -> str | None:
    """Why the tree of a command line is not shown, if it has something that may be a password."""
    for _, source in named(tree, "auth"):
        kind, _, arguments = source.get("use", "").partition(":")
        if not arguments or kind == "ldap":
            continue
        if kind == MEMORY:
            return (
                f"--auth {kind}: expected users in a file, for what is shown here may hold no password; make one with "
                "socks5 passwd"
            )
        return (
            f"--auth {kind}: what stands behind the colon is not shown, for it may be a password; write [auth.NAME] "
            'with type = "plugin" and use = "TYPE:ARGUMENTS"'
        )
    return None


# ---------------------------------------------------------------- listeners


class _Listeners:
    """The sections of listeners, while options are taken: what stands behind a place is for that one, what stands
    before the first is for all that have not their own.
    """

    def __init__(self) -> None:
        self._common = self._current = _Section("")
        self._everywhere = _Section("")
        """What is for all, wherever it stands."""
        self._places: list[_Section] = []
        self._options: list[str] = []

    def take(self, row: OptionRow, text: str) -> None:
        """Take an option that is about listeners.

        :raises ValueError: it means nothing.
        """
        self._options.append(row.name)
        if row.name == "open":
            self._everywhere.say(row, "open", True)
        elif row.name == "port":
            self._everywhere.say(row, "port", row.kind(text))
        elif row.name in ("interface", "listen"):
            keys = {"address": row.kind(text)} if row.name == "interface" else _place(text)
            self._current = _Section(f"--{row.name} {text}", keys)
            self._places.append(self._current)
        else:
            self._current.say(row, row.key.rpartition(".")[2], row.kind(text))

    def sections(self) -> dict[str, _Section]:
        """What is said of all of them.

        :raises twisted.python.usage.UsageError: their places do not go together.
        """
        if not self._options:
            return {}
        if {"interface", "listen"} <= {*self._options}:
            raise UsageError(
                "--interface does not go with --listen: expected it in the endpoint, tcp:PORT:interface=ADDRESS"
            )
        places = self._places or [_Section(f"--{self._options[0]}", {"address": _loopback()})]
        for place in places:
            for other in (self._common, self._everywhere):
                for key, value in other.keys.items():
                    if key not in place.keys and (key != "port" or "address" in place.keys):
                        place.keys[key] = value
                        place.places[key] = other.places[key]
        if len(places) == 1:
            return {"main": places[0]}
        return {f"listener-{number}": each for number, each in enumerate(places, 1)}


def _loopback() -> list[str]:
    """Where the proxy listens without a listener, as far as this host has it: a section's address must be had."""
    return [each for each in LOOPBACK if _can_be_had(each)]


def _can_be_had(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


_ADDRESSES = {"": "0.0.0.0", "localhost": "127.0.0.1"}
"""What words for an interface mean."""


def _place(text: str) -> Tree:
    """Where ``--listen`` listens. What a file has no keys for stays an endpoint of Twisted's.

    :raises twisted.python.usage.UsageError: that is nowhere.
    """
    if endpoint_kind_of(text) == "systemd":  # whose socket a worker finds by another way
        return {"endpoint": text}
    try:
        at = listen_from(text)
    except ValueError as error:
        raise UsageError(f"--listen {text}: {error}{_colon_advice(text)}") from None
    where = at.where
    if isinstance(where, TCP) and "backlog=" not in text:
        interface = _ADDRESSES.get(where.interface, where.interface)
        if _is_address(interface):
            tls = {} if at.tls is None else {"tls": _tls(at.tls)}
            return {"address": interface, "port": where.port, **tls}
        if at.tls is not None:
            raise UsageError(f"--listen {text}: expected an IP address for interface")
    if isinstance(where, UNIX) and where.is_locked and "backlog=" not in text:
        mode = {} if where.mode == 0o666 else {"mode": f"{where.mode:03o}"}
        return {"unix": os.path.abspath(where.path), **mode}
    return {"endpoint": text}


def _colon_advice(endpoint: str) -> str:
    """What to do if an IPv6 address stands in an endpoint as it is elsewhere."""
    if re.search(r"interface=\[?([0-9A-Fa-f]{0,4}:){2}", endpoint):
        return r"; a colon inside a value needs a backslash, all in quotes: 'interface=\:\:1'"
    return ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _tls(files: Files) -> Tree:
    found: Tree = {"cert": files.cert}
    if files.key != files.cert:
        found["key"] = files.key
    if files.clients is not None:
        found["client_ca"] = files.clients
        if not files.is_required:
            found["client_certificates"] = "optional"
        if files.names != tuple(NAMES):
            [found["client_name"]] = files.names
    return found


# ---------------------------------------------------------------- one option


def advice(row: OptionRow, text: str) -> str:
    """What to write into a file in place of an option: ``write after = 10 into [bans]``.

    :raises ValueError: the option's value cannot be used.
    :raises twisted.python.usage.UsageError: likewise.
    """
    [(path, section)] = _sections([(row, text)]).items()
    if hidden_in({"auth": {"": section.keys}}):
        return "write what it says into an [auth.NAME]"
    name = row.key.rpartition(".")[2]
    keys = section.keys if name in {"*", "address"} else {name: section.keys[name]}
    if name != "*":
        kind_of(row.key).read(section.keys[name])
    pairs = ", ".join(f"{key} = {as_toml(value)}" for key, value in keys.items())
    header = "a [listener.NAME]" if path[0] == "listener" else f"[{'.'.join(path)}]"
    return f"write {pairs} into {header}"
