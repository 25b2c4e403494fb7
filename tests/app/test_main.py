"""``python -m socks5`` from inside: what ``main`` starts, in which order, and how it refuses."""

import runpy
import sys
from typing import Any

import pytest
from twisted.logger import globalLogBeginner

from socks5 import __main__ as program
from socks5.app.options import Options
from socks5.app.service import StartRefused


class World:
    """The service, the reactor and the log that ``main`` is given; ``events`` says what became of them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.options: Options | None = None
        self.refuses = False
        self.at_shutdown: list[Any] = []

    # the service

    def privilegedStartService(self) -> None:
        if self.refuses:
            raise StartRefused("no")
        self.events.append("listen")

    def startService(self) -> None:
        self.events.append("start")

    def stopService(self) -> None:
        self.events.append("stop")

    # the reactor

    def addSystemEventTrigger(self, phase: str, event: str, trigger: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.at_shutdown.append(trigger)

    def run(self) -> None:
        self.events.append("run")
        for trigger in self.at_shutdown:
            trigger()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    def make_service(options: Options, reactor: Any) -> World:
        assert reactor is world
        world.options = options
        return world

    monkeypatch.setattr("twisted.internet.reactor", world)
    monkeypatch.setattr(program, "makeService", make_service)
    monkeypatch.setattr(
        globalLogBeginner, "beginLoggingTo", lambda observers: world.events.append("log")
    )
    return world


def test_it_serves_with_the_options_of_the_process_until_the_reactor_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["socks5", "--port", "1082"])
    program.main()
    assert world.events == ["log", "listen", "start", "run", "stop"]
    assert world.options is not None
    assert world.options["port"] == 1082


def test_wrong_options_are_one_sentence_and_status_2(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        program.main(["--port", "x"])
    assert raised.value.code == 2
    expected = "socks5: --port: expected a whole number from 0 to 65535, got 'x'\nTry --help.\n"
    assert capsys.readouterr() == ("", expected)
    assert world.events == []


@pytest.mark.parametrize("is_late", [False, True])
def test_a_start_that_is_refused_is_status_1(
    is_late: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.refuses = not is_late
    monkeypatch.setattr(program, "refusal_of", lambda service: StartRefused("no worker begins"))
    with pytest.raises(SystemExit) as raised:
        program.main([])
    assert raised.value.code == 1
    assert world.events == ["log", *(["listen", "start", "run", "stop"] if is_late else [])]


def test_the_package_is_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["socks5", "--help"])
    monkeypatch.delitem(sys.modules, "socks5.__main__")
    with pytest.raises(SystemExit) as raised:
        runpy.run_module("socks5", run_name="__main__")
    assert raised.value.code in (None, 0)
    assert "--listen=" in capsys.readouterr().out
