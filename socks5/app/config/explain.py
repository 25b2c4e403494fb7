"""Why a file lets somebody do something, or not: the rules' own walk, in words.

Asks no server and opens nothing; what a name leads to it is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from socks5.access import ACCEPTED, NO_SOURCE, Access, ClaimedAccess, Verdict
from socks5.app.config.build import Made
from socks5.app.config.building import Building
from socks5.app.config.client_keys import Listener
from socks5.app.config.entrances import Entrances
from socks5.app.config.ours import Ours
from socks5.app.config.ruling import members
from socks5.app.config.upstreams import text_of, words_of
from socks5.app.config.values import meant
from socks5.auth import User
from socks5.auth.files import UserFile
from socks5.policy.ruleset import REPLIES, Ruleset
from socks5.protocol.address import Address
from socks5.protocol.messages import Command
from socks5.settings import COMMAND_NAMES, COMMANDS, METHOD_NAMES


class Unanswerable(ValueError):
    """The question does not fit the file. Its text is a sentence."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Who asks for what.

    :param client: an IP literal; "" for a client on a UNIX socket. Where the listener has ``proxy_from``, it is what a
        balancer says, "" for one that says nothing: it is not certainly on this host, whatever it is.
    :param target: what it asks for.
    :param user: who it is; None: nobody has logged in.
    :param groups: the user's groups, beside those that the file knows.
    :param listener: where it has come in; "" for the only one.
    :param method: how it has said who it is; "" for the usual one.
    :param command: what it asks for.
    :param at: seconds since 1970.
    """

    client: str
    target: Address
    user: str | None = None
    groups: Sequence[str] = ()
    listener: str = ""
    method: str = ""
    command: int = Command.CONNECT
    at: float


class Answer(NamedTuple):
    """Whether it may.

    :param is_allowed: so it is.
    :param lines: why.
    """

    is_allowed: bool
    lines: Sequence[str]


class Explanation:
    """The answer to one question.

    :param made: of the file.
    :param question: who asks for what.
    :raises Unanswerable: they do not fit.
    """

    def __init__(self, made: Made, question: Question) -> None:
        self._made = made
        self._question = question
        self._name = self._listener_name()
        self._section = made.configuration.listener.get(self._name, Listener())
        rules: Any = made.rules
        self._rules: Ruleset = Ruleset((), default="allow") if rules is None else rules
        user = question.user
        groups = frozenset() if user is None else self._groups_of(user)
        kind = ClaimedAccess if self._section.proxy_from else Access
        self._access = kind(
            question.client,
            next(iter(self._section.address), ""),
            None if user is None else User(user, groups),
            question.command,
            question.target,
            Ours(each.at.where for each in made.listeners),
            self._name,
            question.method or ("none" if user is None else "password"),
        )
        self._as_asked = self._rules.walk(self._access, None, question.at)
        self._first = self._as_asked
        if question.command == Command.UDP_ASSOCIATE and self._as_asked.verdict.is_allowed:
            self._access = self._access._replace(is_datagram=True)
            self._first = self._rules.walk(self._access, None, question.at)

    def _listener_name(self) -> str:
        names = self._made.configuration.listener
        name = self._question.listener
        if name and name not in names:
            known = meant(name, names) or f"; there are {', '.join(names) or 'none'}"
            raise Unanswerable(f"--listener: there is no [listener.{name}]{known}")
        if not name and len(names) > 1:
            raise Unanswerable(f"expected --listener as well, one of {', '.join(names)}")
        return name or next(iter(names), "")

    def _groups_of(self, user: str) -> frozenset[str]:
        """Those that the question names, that files of users know, and those of ``[group]``."""
        found = {*self._question.groups}
        for source in self._made.logins.sources:
            if isinstance(source, UserFile):
                known = source.users().known_by(user.encode(), lambda _: True)
                found |= set() if known is None else known.groups
        of_file = members(self._made.configuration, Building(self._made.document))
        found |= {name for name, users in of_file.items() if user in users}
        return frozenset(found)

    @property
    def is_open(self) -> bool:
        """Whether the answer depends on the address that the target's name leads to."""
        verdict = self._first.verdict
        return (
            self._refused_at_the_door() is None
            and verdict.is_allowed
            and (not verdict.rule or self._is_resolved_for(verdict.via))
            and isinstance(self._question.target.host, bytes)
        )

    def _is_resolved_for(self, via: str | None) -> bool:
        """Whether an upstream gets addresses where a name is asked for."""
        way = self._made.ways.get(via or "")
        return way is not None and not way.resolves

    def _refused_at_the_door(self) -> str | None:
        """Why the listener does not even hear the request."""
        question, section = self._question, self._section
        entrances = Entrances(
            self._made.configuration, Building(self._made.document), self._made.logins
        )
        networks = entrances.networks(("listener", self._name, "clients"), section.clients)
        if section.clients and question.client and question.client not in networks:
            return f"listener {self._name} lets in clients of {', '.join(section.clients)} only"
        if question.command not in self._made.settings.commands:
            return f"the proxy does not serve {COMMAND_NAMES[question.command]}"
        host = question.target.host
        if isinstance(host, bytes) and question.command == Command.RESOLVE_PTR:
            return "resolve-ptr is for addresses"
        if isinstance(host, str) and not self._made.settings.family.allows(host):
            return "targets of this address family are not reached"
        accepted = set(self._methods())
        if self._access.method in METHOD_NAMES and self._access.method not in accepted:
            whose = f"listener {self._name}" if self._name else "the proxy"
            return f"{whose} accepts {' or '.join(self._methods())}, not {self._access.method}"
        return None

    def _methods(self) -> Sequence[str]:
        said = self._section.methods
        accepted = self._made.logins.accepted
        return [
            name
            for name, number in METHOD_NAMES.items()
            if (name in said if said else number in accepted)
        ]

    def answer(self, addresses: Sequence[str] = (), how: str = "") -> Answer:
        """Whether it may, and why.

        :param addresses: what the target's name leads to, if the answer is open.
        :param how: how that is known, in a word or two.
        """
        refused = self._refused_at_the_door()
        if refused is not None:
            return Answer(False, [self._asked(), f"denied: {refused}"])
        lines, outcomes = [self._asked()], list[tuple[bool, str]]()
        if not self.is_open:
            host = self._question.target.host
            lines += self._rows(self._first.rows)
            outcomes.append(
                self._outcome(self._first.verdict, host if isinstance(host, str) else "")
            )
        for address in self._made.settings.family.in_order(addresses):
            walk = self._rules.walk(self._access, address, self._question.at)
            lines += [f"address {address}, {how}", *self._rows(walk.rows)]
            outcomes.append(self._outcome(walk.verdict, address))
        if not outcomes:
            lines += self._rows(self._first.rows)
            outcomes.append((False, f"denied: unreachable, for there is no address ({how})"))
        is_allowed, words = next((each for each in outcomes if each[0]), outcomes[0])
        return Answer(is_allowed, [*lines, words])

    def _asked(self) -> str:
        """The question, in words."""
        access, question = self._access, self._question
        who = ""
        if access.user is not None:
            groups = (
                f" (groups: {', '.join(sorted(access.user.groups))})" if access.user.groups else ""
            )
            who = f" for {access.user.name}{groups}"
        client = access.client or "a UNIX socket"
        if isinstance(access, ClaimedAccess):
            client = f"{access.client or 'an unknown client'} (as a balancer's PROXY header says)"
        where = f", listener {self._name}" if self._name else ""
        zone = self._made.configuration.server.zone
        when = (
            ""
            if zone is None
            else f", {datetime.fromtimestamp(question.at, ZoneInfo(zone)):%a %H:%M} {zone}"
        )
        return (
            f"{COMMAND_NAMES[access.command]} {access.target}{who} from {client}{where}, "
            f"method {access.method}{when}"
        )

    @staticmethod
    def _rows(rows: Sequence[NamedTuple]) -> Iterator[str]:
        """A line a rule; none where the rules are not even asked, for what was sent can be no name."""
        shown = [tuple(map(str, row)) for row in rows]
        names = max((len(rule) for _, rule, _, _ in shown), default=0)
        places = max((len(place) for _, _, place, _ in shown), default=0)
        for answer, rule, place, why in shown:
            where = f"{place:<{places}}  " if places else ""
            yield f"  {answer:<4} {rule:<{names}}  {where}{why}"

    def _outcome(self, verdict: Verdict, address: str) -> tuple[bool, str]:
        """Whether it may, and the verdict in words.

        :param address: the target's; "" if nobody knows it.
        """
        by = f" by {verdict.rule}" if verdict.rule else ""
        would = f"; reported only: {', '.join(verdict.would)}" if verdict.would else ""
        if not verdict.is_allowed:
            words = {number: word for word, number in REPLIES.items()}
            return False, f"denied{by}: {words[verdict.reply]}{would}"
        if verdict.via is not None and not self._is_served(verdict.via):
            name = COMMAND_NAMES[self._question.command]
            return False, f"allowed{by}, but upstream {verdict.via} does not serve {name}{would}"
        source = verdict.source
        if source not in (ACCEPTED, NO_SOURCE) and address and not source.like(address):
            return False, f"allowed{by}, but not dialled: it has no source of that address's family"
        if verdict.via is not None:
            parts = [f"allowed{by}", self._through(verdict.via, address)]
        else:
            parts = [f"allowed{by}", *self._sources(verdict, address)]
        limits = [self._limit(name) for name in self._limits(verdict)]
        if limits:
            parts.append(f"limits: {', '.join(limits)}")
        return True, "; ".join(parts) + would

    def _is_served(self, via: str) -> bool:
        """Whether an upstream serves the command."""
        words = words_of(self._made.configuration.upstream, via)
        return any(self._question.command in COMMANDS[word] for word in words)

    def _through(self, via: str, address: str) -> str:
        """Which upstream that is, and whether it gets a name."""
        made = self._made
        text = text_of(made.configuration.upstream, via, made.document.tree["upstream"])
        is_name = isinstance(self._question.target.host, bytes) and not address
        who = ", which resolves the name" if is_name else ""
        return f"through upstream {via} ({text}){who}"

    def _sources(self, verdict: Verdict, address: str) -> Iterator[str]:
        if verdict.source is ACCEPTED:
            yield "from the address that the client has reached"
            return
        source = self._made.settings.outgoing if verdict.source == NO_SOURCE else verdict.source
        chosen = [source.like(address)] if address else [source.ipv4, source.ipv6]
        found = [each for each in chosen if each]
        if found:
            yield f"from {' or '.join(found)}"

    def _limits(self, verdict: Verdict) -> Sequence[str]:
        """Names of the limits that such a session is under."""
        configuration = self._made.configuration
        groups = () if self._access.user is None else self._access.user.groups
        of_groups = [
            name
            for group, section in configuration.group.items()
            if group in groups
            for name in section.limits
        ]
        names = [*configuration.server.limits, *self._section.limits, *of_groups, *verdict.limits]
        return list(dict.fromkeys(names))

    def _limit(self, name: str) -> str:
        """A limit with what it says, as it was written."""
        said = self._made.document.tree["limit"][name]
        words = []
        for key, value in said.items():
            label = key.replace("_", " ")
            is_count = isinstance(value, int) or key == "new_sessions"
            if key != "per":
                words.append(f"{value} {label}" if is_count else f"{label} {value}")
        per = f"; per {said['per']}" if "per" in said else ""
        return f"{name} ({', '.join(words)}{per})"
