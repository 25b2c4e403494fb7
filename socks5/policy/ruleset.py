"""Rules of one's own: ordered, named, the first that matches decides.

Within a key one entry suffices, between keys all must hold, and a key that is left out holds. What is not known is not
guessed: while only the request is known, a rule may be open, and then nothing is allowed for good behind it. Addresses
that are a door to this host or its neighbourhood are kept from clients elsewhere by a guard that no allow lifts unless
it says so, and nobody connects to the proxy through itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from ipaddress import ip_address
from typing import NamedTuple

from zope.interface import implementer

from socks5.access import ACCEPTED, ALLOWED, NO_NAME, NO_SOURCE, Access, Source, Verdict
from socks5.interfaces import IRules
from socks5.policy.compiling import Compiler
from socks5.policy.conditions import Condition, Guard, Own
from socks5.policy.facts import ASSOCIATING, KNOWN, NAMED, NO, OPEN, YES, Facts
from socks5.policy.hours import Hours
from socks5.policy.index import Index
from socks5.policy.ranges import quoted
from socks5.policy.sets import RANGES, Entries
from socks5.protocol.messages import ReplyCode
from socks5.settings import PerFamily

GUARD, DEFAULT = "builtin:guard", "builtin:default"
"""The names of the two rules that are always there, at the end."""

REPLIES: Mapping[str, int] = {
    "not-allowed": ReplyCode.NOT_ALLOWED,
    "unreachable": ReplyCode.HOST_UNREACHABLE,
    "refused": ReplyCode.CONNECTION_REFUSED,
}
"""What a deny may reply."""

_WORDS = {NO: "no", OPEN: "open", YES: "yes"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, as it is written. Conditions are strings of a policy file; none: the key holds.

    :param name: for records, logs and tools.
    :param action: "allow" or "deny".
    :param clients: networks, ``@NAME``, ``@local`` (certainly on this host) or ``@unix``.
    :param listeners: names of listeners.
    :param commands: "connect", "bind", "udp", "resolve".
    :param methods: "none", "password", "chap", "gssapi", "certificate", or a number.
    :param users: names, exactly.
    :param groups: likewise.
    :param names: what the client asks for: see :func:`socks5.policy.sets.check_name`.
    :param networks: what is dialled, sent to, or has connected: see :func:`socks5.policy.sets.check_network`.
    :param ports: numbers, or ranges such as "8000-8999".
    :param during: see :func:`socks5.policy.hours.check`.
    :param reply: of a deny: one of :data:`REPLIES`.
    :param limits: names of limits, of an allow.
    :param source: of an allow: an address for each family that may be used, or "accepted".
    :param unguarded: whether an allow holds for special addresses, too; needs *networks*.
    :param report_only: whether it is only noted.
    :param via: of an allow: the name of an upstream.
    :param place: where it is written, for a reader.
    """

    name: str
    action: str
    clients: Entries = ()
    listeners: Sequence[str] = ()
    commands: Sequence[str] = ()
    methods: Sequence[str | int] = ()
    users: Entries = ()
    groups: Sequence[str] = ()
    names: Entries = ()
    networks: Entries = ()
    ports: Sequence[str | int] = ()
    during: Sequence[str] = ()
    reply: str = "not-allowed"
    limits: Sequence[str] = ()
    source: Sequence[str] = ()
    unguarded: bool = False
    report_only: bool = False
    via: str | None = None
    place: str = ""


class Step(NamedTuple):
    """What one rule says of an access.

    :param answer: "yes", "no" or "open".
    :param rule: its name.
    :param place: where it is written.
    :param why: the condition that it fails or waits for; of one that holds what it does.
    """

    answer: str
    rule: str
    place: str
    why: str


class Walk(NamedTuple):
    """How a verdict has come about.

    :param verdict: as :meth:`Ruleset.judge` gives it.
    :param rows: a row a rule, down to the one that has decided.
    """

    verdict: Verdict
    rows: Sequence[Step]


class _Compiled:
    """A rule that can be asked.

    :param conditions: all of them must hold, the guard's among them.
    :param verdict: if they do.
    """

    __slots__ = ("asks", "conditions", "is_allow", "is_report_only", "name", "place", "verdict")

    def __init__(
        self,
        verdict: Verdict,
        conditions: Sequence[Condition],
        is_report_only: bool = False,
        place: str = "",
    ) -> None:
        self.name = verdict.rule
        self.verdict = verdict
        self.is_allow = verdict.is_allowed
        self.conditions = conditions
        self.asks = tuple(condition.answer for condition in conditions)
        """What each of them says."""
        self.is_report_only = is_report_only
        self.place = place

    @property
    def kind(self) -> Hashable:
        """See :class:`socks5.policy.index.Indexed`."""
        return self.is_allow, self.is_report_only

    def said(self, is_open: bool) -> Verdict:
        """The verdict, if it holds.

        :param is_open: whether a deny before it may hold yet: then nothing is allowed for good.
        """
        return ALLOWED if self.is_allow and is_open else self.verdict

    def row(self, facts: Facts) -> Step:
        """Whether it holds, and why."""
        least, why = YES, "allow" if self.is_allow else "deny"
        for condition in self.conditions:
            answer = condition.answer(facts)
            if answer < least:
                least, why = answer, condition.why(facts, answer)
        note = " (report only)" if self.is_report_only else ""
        return Step(_WORDS[least], self.name, self.place, why + note)


@implementer(IRules)
class Ruleset:
    """Rules in order, and behind them the guard and the default.

    :param rules: their names differ.
    :param networks: sets by name: their entries.
    :param names: likewise.
    :param groups: who belongs to a group beside those whose source of users says so: the members by its name.
    :param default: what no rule decides: "allow", "deny" or "report", which allows and notes that.
    :param zone: whose wall clock counts for *during*; needed if a rule has that.
    :param own: whether an IP literal is an address of this host: what ``@self`` is.
    :param now: seconds since 1970.
    :raises ValueError: an entry, a set or a combination of keys is none. What it says is a sentence for whoever wrote
        it.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        networks: Mapping[str, Entries] | None = None,
        names: Mapping[str, Entries] | None = None,
        groups: Mapping[str, Iterable[str]] | None = None,
        default: str = "deny",
        zone: str | tzinfo | None = None,
        own: Own | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        compiler = Compiler(networks or {}, names or {}, zone, own)
        self.rules = tuple(rules)
        """As they were given."""
        self._now = now
        self._groups = _by_member(groups or {})
        self._rules: list[_Compiled] = [_compiled(rule, compiler) for rule in self.rules]
        _complain_of_names(self.rules)
        self._rules.append(_GUARD)
        self._default = _default(default)
        self._hours: Collection[Hours] = compiler.hours
        self._indexes = [Index(self._rules, unknown) for unknown in (KNOWN, NAMED, ASSOCIATING)]

    def judge(self, access: Access, address: str | None) -> Verdict:
        """See :meth:`socks5.interfaces.IRules.judge`. These verdicts are there at once. One that allows and has no
        rule's name holds so far: it is asked for again with the address.
        """
        facts = self._facts(access, address, None)
        return self._decide(self._indexes[facts.unknown].candidates(facts), facts, None)

    def walk(self, access: Access, address: str | None, at: float | None = None) -> Walk:
        """How :meth:`judge` comes to its verdict, rule by rule.

        :param at: seconds since 1970; None: now.
        """
        rows: list[Step] = []
        facts = self._facts(access, address, at)
        return Walk(self._decide(self._rules, facts, rows), rows)

    def phase(self) -> tuple[bool, ...]:
        """Which times of the week it is now: when that changes, so may the verdicts on sessions that have begun."""
        second = int(self._now())
        return tuple(hours.holds(second) for hours in self._hours)

    def _facts(self, access: Access, address: str | None, at: float | None) -> Facts:
        second = 0
        if self._hours:
            second = int(self._now() if at is None else at)
        facts = Facts(access, address, second)
        if facts.user is not None and facts.user in self._groups:
            facts.groups = facts.groups | self._groups[facts.user]
        return facts

    def _decide(
        self, candidates: Iterable[_Compiled], facts: Facts, rows: list[Step] | None
    ) -> Verdict:
        """What the first of the rules says that holds; see the module.

        :param rows: what each has said is added to them; None: nobody wants to know.
        """
        if facts.is_refused:
            return NO_NAME
        is_open = False  # a deny that may hold yet
        noted: list[_Compiled] = []
        for rule in candidates:
            if rows is not None:
                rows.append(rule.row(facts))
            least = YES  # no if one condition is, else open if one is
            for ask in rule.asks:
                answer = ask(facts)
                if answer < least:
                    least = answer
                    if not answer:
                        break
            else:
                if rule.is_report_only:
                    if least == YES:
                        noted.append(rule)
                elif least == OPEN and not rule.is_allow:
                    is_open = True
                else:
                    return _noting(ALLOWED if least == OPEN else rule.said(is_open), noted)
        if rows is not None:
            rows.append(self._default.row(facts))
        return _noting(self._default.said(is_open), noted)


def _noting(verdict: Verdict, noted: Sequence[_Compiled]) -> Verdict:
    """A verdict with the names of rules that only report."""
    if not noted:
        return verdict
    would = tuple(rule.name for rule in noted if rule.is_allow is not verdict.is_allowed)
    agreed = tuple(rule.name for rule in noted if rule.is_allow is verdict.is_allowed)
    return replace(verdict, would=verdict.would + would, agreed=agreed)


_GUARD = _Compiled(Verdict(False, GUARD), (Guard(RANGES["special"], is_allow=False),))


def _default(word: str) -> _Compiled:
    """What holds behind all rules.

    :raises ValueError: there is no such default.
    """
    if word not in ("allow", "deny", "report"):
        raise ValueError(f'expected "allow", "deny" or "report", got {quoted(word)}')
    would = (DEFAULT,) if word == "report" else ()
    return _Compiled(Verdict(word != "deny", DEFAULT, would=would), ())


def _by_member(groups: Mapping[str, Iterable[str]]) -> Mapping[str, frozenset[str]]:
    """The groups of each member."""
    found: dict[str, set[str]] = {}
    for group, members in groups.items():
        for member in members:
            found.setdefault(member, set()).add(group)
    return {member: frozenset(names) for member, names in found.items()}


def _complain_of_names(rules: Iterable[Rule]) -> None:
    """:raises ValueError: two rules have one name, or one has ours."""
    seen = set()
    for rule in rules:
        if rule.name in seen:
            raise ValueError(f"there are two rules {quoted(rule.name)}")
        if rule.name.startswith("builtin:") or not rule.name:
            raise ValueError(f"expected a name of your own for a rule, got {quoted(rule.name)}")
        seen.add(rule.name)


def _compiled(rule: Rule, compiler: Compiler) -> _Compiled:
    """:raises ValueError: see :class:`Ruleset`."""
    conditions = compiler.conditions(rule)
    if rule.action == "allow":
        if rule.unguarded and not rule.networks:
            raise ValueError("unguarded needs networks: by name alone it could be led anywhere")
        if rule.source and rule.via is not None:
            raise ValueError("source does not go with via: the upstream has its own")
        if rule.reply != "not-allowed":
            raise ValueError("an allow has no reply")
        conditions.append(compiler.guard(rule.unguarded, rule.via is not None))
        verdict = Verdict(
            True,
            rule.name,
            rule.via,
            source=check_source(rule.source),
            limits=tuple(rule.limits),
        )
    elif rule.action == "deny":
        if rule.unguarded or rule.source or rule.via is not None or rule.limits:
            raise ValueError("a deny has neither unguarded, source, via nor limits")
        if rule.reply not in REPLIES:
            known = ", ".join(f'"{name}"' for name in REPLIES)
            raise ValueError(f"expected one of {known}, got {quoted(rule.reply)}")
        verdict = Verdict(False, rule.name, reply=REPLIES[rule.reply])
    else:
        raise ValueError(f'expected "allow" or "deny", got {quoted(rule.action)}')
    return _Compiled(verdict, conditions, rule.report_only, rule.place)


def check_source(source: Sequence[str]) -> Source:
    """What stands for ``source``: "accepted", or an address of each family at the most.

    :raises ValueError: it is neither.
    """
    if tuple(source) == (ACCEPTED.value,):
        return ACCEPTED
    found: dict[int, str] = {}
    for text in source:
        try:
            address = ip_address(text)
        except ValueError:
            raise ValueError(f'expected an address or "accepted", got {quoted(text)}') from None
        if address.version in found:
            raise ValueError(f"expected one address a family, got {quoted(text)} besides")
        found[address.version] = text
    return PerFamily(found.get(4), found.get(6)) if found else NO_SOURCE
