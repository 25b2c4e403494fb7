"""Rules for tests, and who is judged by them."""

from typing import Any

from socks5.access import Access, ClaimedAccess
from socks5.auth import User
from socks5.policy.ruleset import Rule, Ruleset
from socks5.protocol.address import Address
from socks5.protocol.messages import Command

CLIENT, SERVER = "192.0.2.9", "192.0.2.1"
PUBLIC, OTHER = "1.1.1.1", "8.8.8.8"


def allow(name: str, **keys: Any) -> Rule:
    return Rule(name, "allow", **keys)


def deny(name: str, **keys: Any) -> Rule:
    return Rule(name, "deny", **keys)


def asks(
    host: str | bytes = b"www.example.com",
    port: int = 443,
    command: int = Command.CONNECT,
    *,
    client: str = CLIENT,
    user: str | None = None,
    groups: tuple[str, ...] = (),
    is_claimed: bool = False,
    **more: Any,
) -> Access:
    """Somebody's request."""
    who = None if user is None else User(user, frozenset(groups))
    kind = ClaimedAccess if is_claimed else Access
    return kind(client, SERVER, who, command, Address(host, port), **more)


def said(rules: Ruleset, access: Access, address: str | None = None) -> str:
    """What they say: "allow" so far, or with the rule's name."""
    verdict = rules.judge(access, address)
    return f"{'allow' if verdict.is_allowed else 'deny'} {verdict.rule}".strip()
