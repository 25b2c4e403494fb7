"""A command line as the tree that a file with the same meaning would be.

Its options are right: :class:`~socks5.app.options.Options` has taken them. Paths become absolute, for a file's are
relative to its folder.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from socks5.app.config.keyed import kind_of
from socks5.app.config.values import as_toml
from socks5.app.listeners import LOOPBACK
from socks5.app.rows import OptionRow
from socks5.app.sources import CREDENTIAL
from socks5.net.certificate_files import Files
from socks5.net.certificate_names import NAMES
from socks5.net.listening import listen_from
from socks5.net.places import TCP, UNIX

Tree = dict[str, Any]

_LISTS = {"clients", "proxy-from", "ban-exempt"}
"""Options whose text has commas between entries of a list."""


class NotShown(ValueError):
    """An option means something that a file does not hold. Its text is a sentence."""


def tree_of(options: Iterable[tuple[OptionRow, str]]) -> Tree:
    """What a command line means, as a file has it.

    :param options: what it says, in order.
    :raises NotShown: it has a password.
    """
    tree: Tree = {}
    listeners = _Listeners()
    for row, text in options:
        section, _, rest = row.key.partition(".")
        if section == "listener":
            listeners.take(row, text)
        elif section == "auth":
            _add_source(tree.setdefault(section, {}), text)
        else:
            table = tree.setdefault(section, {})
            table[rest] = _joined(table.get(rest), _written(row, text), row)
    found = listeners.sections()
    return {"listener": found, **tree} if found else tree


def _joined(before: Any, value: Any, row: OptionRow) -> Any:
    """What an option says together with the one before it, if both count."""
    if before is None or not row.is_repeatable:
        return value
    both = [*_as_list(before), *_as_list(value)]
    return list(dict.fromkeys(both))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _written(row: OptionRow, text: str) -> Any:
    """The value of an option as a file has it."""
    own = _OWN.get(row.name)
    if own is not None:
        return own(text)
    if row.name in _LISTS:
        return _short(text.split(","))
    return kind_of(row.key).show(row.kind(text))


def _short(entries: list[str]) -> str | list[str]:
    return entries[0] if len(entries) == 1 else entries


def _located(text: str) -> str | Mapping[str, str]:
    """A path, or a credential of systemd's."""
    if text.startswith(CREDENTIAL):
        return {"credential": text.removeprefix(CREDENTIAL)}
    return os.path.abspath(os.path.expanduser(text))


_OWN: Mapping[str, Callable[[str], Any]] = {
    "workers": lambda text: text if text == "auto" else int(text),
    "outgoing": str,
    "advertise": str,
    "udp-ports": lambda text: text if "-" in text else int(text),
    "keytab": lambda text: _located(text.removeprefix("FILE:")),
    "access-log": lambda text: text if text == "-" else os.path.abspath(text),
}
"""Options whose text is not just read and shown."""


# ---------------------------------------------------------------- sources of users


def _add_source(sources: Tree, description: str) -> None:
    """Add what ``--auth`` describes, under a name of its own."""
    kind, _, arguments = description.partition(":")
    name = re.sub("[^a-z0-9]+", "-", kind.lower()).strip("-") or "users"
    number = sum(re.fullmatch(rf"{name}(-[0-9]+)?", each) is not None for each in sources) + 1
    sources[name if number == 1 else f"{name}-{number}"] = _source(kind, arguments, description)


def _source(kind: str, arguments: str, description: str) -> Tree:
    if kind == "htpasswd":
        path, has_groups, groups = arguments.partition(":groups=")
        more = {"groups": _located(groups)} if has_groups else {}
        return {"type": kind, "file": _located(path), **more}
    if kind in ("file", "secrets"):
        return {"type": kind, "file": _located(arguments)}
    if kind == "pam":
        return {"type": kind, "service": arguments}
    if kind == "ldap":  # its file may hold a password, which is not to be copied
        if not arguments.startswith(CREDENTIAL):
            arguments = os.path.abspath(os.path.expanduser(arguments))
        return {"type": "plugin", "use": f"{kind}:{arguments}"}
    if arguments:
        raise NotShown(
            f"--auth {kind}: expected users in a file, for what is shown here may hold no password; make one with "
            "socks5 passwd"
            if kind == "memory"
            else f"--auth {kind}: what stands behind the colon is not shown, for it may be a password; write "
            '[auth.NAME] with type = "plugin" and use = "TYPE:ARGUMENTS"'
        )
    return {"type": "plugin", "use": description}


# ---------------------------------------------------------------- listeners


class _Listeners:
    """The sections of listeners, while options are taken."""

    def __init__(self) -> None:
        self._common: Tree = {}
        self._said = self._common
        self._places: list[tuple[Tree, Tree]] = []
        self._port = 1080
        self._is_open = False
        self._is_said = False

    def take(self, row: OptionRow, text: str) -> None:
        """Take an option that is about listeners."""
        self._is_said = True
        if row.name == "port":
            self._port = row.kind(text)
        elif row.name == "open":
            self._is_open = True
        elif row.name in ("interface", "listen"):
            place = {"address": text} if row.name == "interface" else _place(text)
            self._said = {}
            self._places.append((place, self._said))
        else:
            key = row.key.rpartition(".")[2]
            value = _short(text.split(","))
            self._said[key] = _joined(self._said.get(key), value, row)

    def sections(self) -> Tree:
        """What is said of all of them."""
        if not self._is_said:
            return {}
        places = self._places or [({"address": _short(_loopback())}, {})]
        found: list[Tree] = []
        for place, said in places:
            section = self._section(place, said)
            if not (found and _merged(found[-1], section)):
                found.append(section)
        if len(found) == 1:
            return {"main": found[0]}
        return {f"listener-{number}": each for number, each in enumerate(found, 1)}

    def _section(self, place: Tree, said: Tree) -> Tree:
        port = {"port": self._port} if "address" in place and "port" not in place else {}
        is_open = {"open": True} if self._is_open else {}
        return {**place, **port, **self._common, **said, **is_open}


def _loopback() -> list[str]:
    """Where the proxy listens without a listener, as far as this host has it: a file's listener must be had."""
    return [each for each in LOOPBACK if _can_be_had(each)]


def _can_be_had(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


def _merged(before: Tree, section: Tree) -> bool:
    """Whether a section is only another address of the one before it, which has it now."""
    if "address" not in section or {**before, "address": 0} != {**section, "address": 0}:
        return False
    before["address"] = _as_list(before["address"]) + _as_list(section["address"])
    return True


def _place(text: str) -> Tree:
    """Where ``--listen`` listens. What a file has no keys for stays an endpoint of Twisted's."""
    at = listen_from(text)
    where = at.where
    if isinstance(where, TCP) and "backlog=" not in text:
        interface = where.interface or "0.0.0.0"
        if _is_address(interface):
            tls = {} if at.tls is None else {"tls": _tls(at.tls)}
            return {"address": interface, "port": where.port, **tls}
    if isinstance(where, UNIX) and where.is_locked and "backlog=" not in text:
        mode = {} if where.mode == 0o666 else {"mode": f"{where.mode:03o}"}
        return {"unix": os.path.abspath(where.path), **mode}
    return {"endpoint": text}


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
    """
    try:
        [(section, table)] = tree_of([(row, text)]).items()
    except NotShown:
        return "write what it says into an [auth.NAME]"
    header = f"[{section}]"
    if section in ("listener", "auth"):
        [(name, table)] = table.items()
        header = f"[auth.{name}]" if section == "auth" else "a [listener.NAME]"
    if section == "listener" and row.name not in ("interface", "listen"):
        name = row.key.rpartition(".")[2]
        table = {name: table[name]}
    pairs = ", ".join(f"{key} = {as_toml(value)}" for key, value in table.items())
    return f"write {pairs} into {header}"
