"""Datagrams through upstreams, in memory, when rules and upstreams become others."""

import dataclasses
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionRefusedError

from socks5.access import Verdict
from socks5.outbound import link
from socks5.outbound.path import Path
from socks5.outbound.pool import Pool, Way
from socks5.outbound.ways import Upstreams
from socks5.policy.ruleset import Ruleset
from socks5.settings import Settings
from tests.support.associations import (
    OTHER,
    SAME_HOST,
    TARGET,
    Association,
)
from tests.support.linked import Through
from tests.support.providers import Allow
from tests.support.rules import allow
from tests.support.sessions import Server
from tests.support.upstreams import UP, upstream


def test_what_is_judged_anew_is_judged_where_it_waits_too() -> None:
    rules = Allow(lambda access, host: Verdict(True, "far", via="up"))
    world = Through(rules)
    world.ask(TARGET)
    world.server.factory.rules = Ruleset([allow("near")])
    world.udp.client.session.rejudge(world.server.factory.rules)
    assert world.udp.reached == [TARGET]
    world.greeted()
    world.udp.client.session.rejudge(rules)
    world.ask(OTHER)
    assert world.udp.reached == [TARGET]
    assert world.udp.dropped == {}


def test_an_association_with_one_that_has_left_its_pool_is_not_waited_for() -> None:
    def pool(*hosts: str) -> Callable[[Any], dict[str, Way]]:
        return lambda reactor: {
            "up": Pool(
                [Path(host, [upstream(host, f"socks5://{host}")], reactor) for host in hosts]
            )
        }

    world = Through(ways=pool("192.0.2.1", "192.0.2.2"))
    world.ask()
    assert world.connecting == [("192.0.2.1", 1080)]
    ways = pool("192.0.2.2", "192.0.2.3")(world.reactor)
    policy = world.server.factory.policy
    after = Upstreams(world.reactor, ways, world.direct)
    world.server.factory.replace(dataclasses.replace(policy, dialer=after))
    world.reactor.turn()
    assert world.connecting == [("192.0.2.2", 1080)]
    world.open()
    assert (len(world.sent_there), world.udp.dropped) == (1, {})


def test_what_waits_for_one_goes_to_no_other_as_it_was() -> None:
    """Under new rules it may be for another upstream, which those may call something else, too."""

    def ways(up: str, other: str) -> dict[str, Way]:
        urls = {"up": up, "other": other}
        return {
            name: Path(name, [upstream(name, f"socks5://{host}")], world.reactor)
            for name, host in urls.items()
        }

    def replace(rules: Ruleset, up: str, other: str) -> None:
        after = Upstreams(world.reactor, ways(up, other), world.direct)
        policy = world.server.factory.policy
        world.server.factory.replace(dataclasses.replace(policy, rules=rules, dialer=after))
        world.reactor.turn()

    world = Through()
    replace(
        Ruleset([allow("first", ports=[1], via="up"), allow("rest", via="other")]),
        UP,
        "203.0.113.7",
    )
    world.ask(("192.0.2.1", 1))  # which waits
    world.ask(TARGET)
    before = world.open()
    assert len(world.sent_there) == 1
    old = world.link
    replace(Ruleset([allow("all", via="other")]), UP, "203.0.113.8")
    assert not before.connected
    assert len(old.written) == 1
    world.ask(("192.0.2.1", 1))
    assert world.connecting == [(UP, 1080), ("203.0.113.8", 1080)]


def test_after_a_reload_they_go_to_the_upstreams_of_then() -> None:
    """To what is called so now, and in the same association if that is the same."""
    world = Through()
    rules = Ruleset([allow("far", via="up")])

    def reload(**urls: str) -> None:
        ways = {
            name: Path(name, [upstream(name, url)], world.reactor) for name, url in urls.items()
        }
        world.server.factory.replace(
            dataclasses.replace(
                world.server.factory.policy,
                rules=rules,
                dialer=Upstreams(world.reactor, ways, world.direct),
            )
        )
        world.reactor.turn()

    world.ask()
    reload(up=f"socks5://{UP}", other="socks5://203.0.113.9")
    control = world.open()
    assert len(world.sent_there) == 1
    reload(up=f"socks5://{UP}")
    world.ask()
    assert len(world.sent_there) == 2
    reload(up="socks5://203.0.113.9")
    assert not control.connected
    world.ask()
    assert world.connecting == [("203.0.113.9", 1080)]
    reload(up="socks5://203.0.113.10")
    assert world.connecting == [("203.0.113.10", 1080)]
    world.open()
    assert len(world.sent_there) == 1
    rules = Ruleset([allow("far", via="new")])
    reload(new="socks5://203.0.113.11")
    world.ask()
    assert world.connecting == [("203.0.113.11", 1080)]
    world.open()
    assert world.udp.dropped == {}


def test_a_reload_that_brings_upstreams_leaves_direct_flows_alone() -> None:
    """Targets see the same source as before. Upstreams may come, go, and come again."""
    server = Server(Settings(ban_after=0), dialer=None)
    udp = Association(server=server)
    policy = server.factory.policy

    def reload(*hosts: str) -> None:
        ways = {
            host: Path(host, [upstream(host, f"socks5://{host}")], udp.reactor) for host in hosts
        }
        rules = Ruleset([*(allow(host, ports=[5353], via=host) for host in hosts), allow("rest")])
        dialer = Upstreams(udp.reactor, ways) if hosts else None
        server.factory.replace(dataclasses.replace(policy, rules=rules, dialer=dialer))
        udp.reactor.turn()

    dialled: list[tuple[str, int]] = []
    for hosts in [], ["203.0.113.1"], [], ["203.0.113.2"]:
        reload(*hosts)
        udp.ask(TARGET, SAME_HOST)
        udp.answer()
        for connector in udp.reactor.connectors[len(dialled) :]:
            dialled.append((connector.host, connector.port))
            connector.fail(ConnectionRefusedError())
        udp.reactor.advance(link.PAUSE)
    assert dialled == [("203.0.113.1", 1080), ("203.0.113.2", 1080)]
    [far] = udp.far
    assert udp.reached == [TARGET, SAME_HOST, TARGET, TARGET, SAME_HOST, TARGET]
    assert [sender for _, sender, _ in udp.received] == [TARGET] * 4
    assert udp.dropped == {"upstream": 2}
    udp.client.end()
    assert not far.is_listening
    [record] = server.records
    assert record.upstream == "203.0.113.1, 203.0.113.2"
