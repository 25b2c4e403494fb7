"""What is wrong between upstreams, and between them and rules: see :mod:`socks5.app.config.references`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from socks5.app.config.places import Path
from socks5.app.config.tables import NAME
from socks5.app.config.tree import Finding, Tree, absent, named, rules, texts
from socks5.app.config.upstream_keys import KINDS, OF_POOLS
from socks5.app.config.values import as_key
from socks5.client.urls import Place, read


class _Said(NamedTuple):
    """What is said of one upstream."""

    kind: str
    """Its key of :data:`~socks5.app.config.upstream_keys.KINDS`, the first; "" for none."""
    keys: Mapping[str, Any]


def _place(said: _Said) -> Place | None:
    """Where it is, if it has a URL that can be read."""
    url = said.keys.get("url")
    try:
        return read(url)[0] if isinstance(url, str) else None
    except ValueError:  # which its kind says
        return None


def findings_of_upstreams(tree: Tree) -> Iterator[Finding]:
    """Everything that is wrong between the upstreams of a tree, and what names them."""
    upstreams = {
        str(path[1]): _Said(next((each for each in KINDS if each in keys), ""), keys)
        for path, keys in named(tree, "upstream")
    }
    for name, said in upstreams.items():
        path: Path = ("upstream", name)
        yield from _kind(path, said)
        yield from _chain(path, said, upstreams)
        yield from _pool(path, said, upstreams)
    for path, rule in rules(tree):
        for at, name in texts(rule, path, "via"):
            if NAME.fullmatch(name) and name not in upstreams:
                yield absent(at, "upstream", name, upstreams)


def _kind(path: Path, said: _Said) -> Iterator[Finding]:
    """Which keys go together."""
    if not said.kind:
        yield Finding(path, "expected url, chain or pool, got none of them", is_about_key=True)
        return
    for key in said.keys:
        wanted = key if key in KINDS else "pool" if key in OF_POOLS else "url"
        if wanted != said.kind:
            yield Finding((*path, key), f"does not go with {said.kind}", is_about_key=True)
    if "probe_every" in said.keys and "probe" not in said.keys and said.kind == "url":
        yield Finding((*path, "probe_every"), "expected probe as well")


def _chain(path: Path, said: _Said, upstreams: Mapping[str, _Said]) -> Iterator[Finding]:
    members = texts(said.keys, path, "chain")
    for number, (at, name) in enumerate(members):
        if not NAME.fullmatch(name):
            continue
        if name == path[1]:
            yield Finding(at, "it cannot be in its own chain")
        elif name not in upstreams:
            yield absent(at, "upstream", name, upstreams)
        else:
            yield from _link(at, name, upstreams[name], number, is_last=number + 1 == len(members))


def _link(at: Path, name: str, said: _Said, number: int, is_last: bool) -> Iterator[Finding]:
    """One that is in a chain."""
    if said.kind in ("chain", "pool"):
        yield Finding(
            at, f"expected one with a url, but [upstream.{as_key(name)}] is a {said.kind}"
        )
    place = _place(said)
    if number and place is not None and place.path:
        yield Finding(at, "a UNIX socket can only be the nearest, for it is on this host")
    commands = {text for _, text in texts(said.keys, (), "commands")}
    if not is_last and commands and commands <= {"bind", "udp", "resolve"}:
        yield Finding(at, "expected one that serves connect, for others are behind it")


def _pool(path: Path, said: _Said, upstreams: Mapping[str, _Said]) -> Iterator[Finding]:
    for at, name in texts(said.keys, path, "pool"):
        if not NAME.fullmatch(name):
            continue
        if name not in upstreams:
            yield absent(at, "upstream", name, upstreams)
        elif name == path[1] or upstreams[name].kind == "pool":
            yield Finding(at, f"there is no pool in a pool, and [upstream.{as_key(name)}] is one")


def roots(upstreams: Mapping[str, Any]) -> set[str]:
    """Those with a URL that this host connects to itself: all that are not only behind others.

    :param upstreams: the sections.
    """
    behind = {name for each in upstreams.values() for name in each.chain[1:]}
    nearest = {name for each in upstreams.values() for name in (*each.chain[:1], *each.pool)}
    return {name for name in upstreams if name in nearest or name not in behind}
