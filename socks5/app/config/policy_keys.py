"""The keys of what is allowed, and how much: sets, groups, limits and rules. See
:mod:`socks5.app.config.keys`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from socks5.app.config.conditions import (
    ClientEntry,
    Hours,
    NameEntry,
    NetworkEntry,
    RuleMethod,
    RuleSource,
    UserEntry,
)
from socks5.app.config.quantities import Events, Quota, Rate
from socks5.app.config.tables import NAME, optional, required
from socks5.app.config.values import (
    Choice,
    Count,
    Flag,
    Kind,
    Listed,
    PortRange,
    Several,
    Text,
    Wrong,
    as_toml,
)
from socks5.settings import COMMANDS


def name_of(what: str) -> Kind:
    """What something is called."""
    return Text(f"the name of {what}", NAME.pattern, "name")


def limits(whose: str) -> Any:
    """The key that names limits."""
    return optional(Listed(name_of("a limit")), f"Limits of {whose}.", (), default="none")


def refuse(problems: list[Wrong]) -> None:
    """:raises Several: there are some."""
    if problems:
        raise Several([((), each) for each in problems])


@dataclass(frozen=True, kw_only=True)
class NetworkSet:
    """``[networks.NAME]``."""

    entries: tuple[str, ...] = required(
        Listed(NetworkEntry(takes_sets=False)), "Networks, addresses, and file:PATH."
    )


@dataclass(frozen=True, kw_only=True)
class NameSet:
    """``[names.NAME]``."""

    entries: tuple[str, ...] = required(
        Listed(NameEntry(takes_sets=False)), "Names, .suffixes, patterns, and file:PATH."
    )


@dataclass(frozen=True, kw_only=True)
class Group:
    """``[group.NAME]``."""

    members: tuple[str, ...] = optional(
        Listed(UserEntry()), "Its users, and file:PATH.", (), default="those of the sources"
    )
    limits: tuple[str, ...] = limits("whoever is in it")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """``[limit.NAME]``."""

    per: str = optional(
        Choice(("all", "user", "client", "session")), "Who shares its counter.", "all"
    )
    sessions: int | None = optional(Count(1, 10_000_000), "Sessions at a time.", default="any")
    client_addresses: int | None = optional(
        Count(1, 10_000_000), "Different client addresses at a time.", default="any"
    )
    new_sessions: tuple[int, float] | None = optional(
        Events(), "Sessions that begin.", default="any"
    )
    up: float | None = optional(Rate(), "What clients send.", default="any")
    down: float | None = optional(Rate(), "What clients get.", default="any")
    total: float | None = optional(Rate(), "Both together.", default="any")
    quota: tuple[int, str] | None = optional(
        Quota(), "Both together, in a calendar day, week or month.", default="any"
    )

    def check(self) -> None:
        """Refuse what limits nothing, or cannot."""
        if self.per == "session" and self.quota is not None:
            raise Wrong(
                'does not go with per = "session"; expected a limit of its own for it',
                ("quota",),
                is_about_key=True,
            )
        said = (
            self.sessions,
            self.client_addresses,
            self.new_sessions,
            self.up,
            self.down,
            self.total,
            self.quota,
        )
        if said == (None,) * len(said):
            raise Wrong("expected something that it limits, such as sessions or down; got nothing")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """``[[rule]]``: the first one that holds decides."""

    name: str = required(name_of("the rule"), "What it is called.")
    action: str = required(Choice(("allow", "deny")), "What it says.")
    report_only: bool = optional(Flag(), "Only noted where it would have decided otherwise.", False)
    clients: tuple[str, ...] = optional(
        Listed(ClientEntry()), "The client's address.", (), default="any"
    )
    listeners: tuple[str, ...] = optional(
        Listed(name_of("a listener")), "Where the client has come in.", (), default="any"
    )
    commands: tuple[str, ...] = optional(
        Listed(Choice(tuple(COMMANDS))), "What the client asks for.", (), default="any"
    )
    methods: tuple[str | int, ...] = optional(
        Listed(RuleMethod()), "How the client has said who it is.", (), default="any"
    )
    users: tuple[str, ...] = optional(Listed(UserEntry()), "Who the client is.", (), default="any")
    groups: tuple[str, ...] = optional(
        Listed(Text("the name of a group", None, "staff")),
        "What the client is a member of.",
        (),
        default="any",
    )
    names: tuple[str, ...] = optional(
        Listed(NameEntry()), "The name that the client asks for.", (), default="any"
    )
    networks: tuple[str, ...] = optional(
        Listed(NetworkEntry()), "The target's address.", (), default="any"
    )
    ports: tuple[int | str, ...] = optional(
        Listed(PortRange(is_list_item=True)), "The target's port.", (), default="any"
    )
    during: tuple[str, ...] = optional(
        Listed(Hours()), "When, by the clock of server.zone.", (), default="always"
    )
    reply: str = optional(
        Choice(("not-allowed", "unreachable", "refused")),
        "What a denied client is told.",
        "not-allowed",
    )
    limits: tuple[str, ...] = limits("what it allows")
    source: tuple[str, ...] = optional(
        Listed(RuleSource()),
        "Addresses that targets are reached from, one a family, or accepted.",
        (),
        default="as [server] says",
    )
    via: str | None = optional(
        name_of("an upstream"), "Upstream that it goes through, and never directly.", default="none"
    )
    unguarded: bool = optional(Flag(), "Holds for special addresses, too.", False)

    def check(self) -> None:
        """Refuse what does not go together."""
        for_allow = {
            "limits": self.limits,
            "source": self.source,
            "via": self.via,
            "unguarded": self.unguarded,
        }
        problems: list[Wrong] = []
        if self.action == "deny":
            problems += [
                Wrong('does not go with action = "deny"', (name,), is_about_key=True)
                for name, said in for_allow.items()
                if said
            ]
        elif self.reply != "not-allowed":
            problems.append(
                Wrong('does not go with action = "allow"', ("reply",), is_about_key=True)
            )
        if self.unguarded and not self.networks:
            problems.append(
                Wrong("expected networks as well, for a name could lead anywhere", ("unguarded",))
            )
        if self.action == "allow" and self.source and self.via:
            problems.append(Wrong("does not go with via", ("source",), is_about_key=True))
        if len(self.source) > 1 and "accepted" in self.source:
            problems.append(Wrong("expected accepted alone, or addresses", ("source",)))
        else:
            problems += two_of_a_family(self.source, ("source",))
        refuse(problems)


def two_of_a_family(addresses: tuple[str, ...], path: tuple[str, ...]) -> list[Wrong]:
    """What is wrong with addresses of which each family is to have one at the most."""
    families: dict[bool, str] = {}
    for number, address in enumerate(addresses):
        first = families.setdefault(":" in address, address)
        if first != address or address in addresses[:number]:
            return [
                Wrong(
                    f"expected one address a family, got also {as_toml(address)}", (*path, number)
                )
            ]
    return []
