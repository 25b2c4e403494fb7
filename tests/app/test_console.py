"""The program ``socks5``: its commands, what ``run`` starts, in which order, and how it refuses."""

import gc
import importlib
import os
import runpy
import socket
import sys
import tempfile
from types import ModuleType
from typing import IO, Any

import pytest
from twisted.logger import globalLogBeginner

from socks5.app import console as program
from socks5.app.estate import VARIABLE, Left
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

    def make_service(options: Options, reactor: Any, hands_over: bool) -> World:
        assert (reactor, hands_over) == (world, True)
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
    assert world.options.arguments == ["--port", "1082"]


def test_wrong_options_are_one_sentence_and_status_2(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        program.main(["--port"])
    assert raised.value.code == 2
    assert capsys.readouterr() == ("", "socks5: --port: expected PORT behind it\n")
    assert world.events == []


def test_the_process_that_was_to_be_taken_over_from_is_told_of_wrong_options(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setenv(VARIABLE, Left(3, [], theirs.detach()).environment)
    with pytest.raises(SystemExit):
        program.main(["--port"])
    with ours:
        assert ours.recv(100) == b"!--port: expected PORT behind it\n"
    assert world.events == []


@pytest.mark.parametrize("words", [["run"], ["run", "-p", "1082"], ["-p", "1082"], []])
def test_without_a_word_the_proxy_is_meant(words: list[str], world: World) -> None:
    program.main(words)
    assert "run" in world.events
    assert world.options is not None
    assert world.options.arguments == [word for word in words if word != "run"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rnu"], "rnu: there is no such command; did you mean run?"),
        (["passw", "-D"], "passw: there is no such command; did you mean passwd?"),
        (
            ["1080"],
            f"1080: there is no such command; expected one of {', '.join(program.COMMANDS)}, or options",
        ),
        (["run", "1080"], "expected options, each with -- before it, got '1080'"),
        (["--open", "1080"], "expected options, each with -- before it, got '1080'"),
    ],
)
def test_a_word_that_is_no_command_is_an_error(
    words: list[str], sentence: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        program.main(words)
    assert raised.value.code == 2
    assert capsys.readouterr() == ("", f"socks5: {sentence}\n")
    assert world.events == []


@pytest.mark.parametrize("words", [["-h"], ["run", "--help"]])
def test_the_help_has_the_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        program.main(words)
    assert raised.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Usage: socks5 [run] [OPTIONS]"
    shown = lines[lines.index("Commands:") + 1 :][: len(program.COMMANDS)]
    assert [line.split()[0] for line in shown] == [*program.COMMANDS]
    assert all(len(line) <= 80 for line in lines)


class Gone:
    """A standard output that nobody reads any more."""

    def __init__(self, file: IO[str]) -> None:
        self.fileno = file.fileno

    def write(self, text: str) -> None:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("words", [["--help"], ["schema"]])
def test_who_reads_the_first_lines_only_sees_no_traceback(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryFile("w") as file:
        monkeypatch.setattr(sys, "stdout", Gone(file))
        with pytest.raises(SystemExit) as raised:
            program.main(words)
        assert raised.value.code == 1
        assert os.fstat(file.fileno()).st_rdev == os.stat(os.devnull).st_rdev
    assert capsys.readouterr().err == ""


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
    monkeypatch.delitem(sys.modules, "socks5.__main__", raising=False)
    with pytest.raises(SystemExit) as raised:
        runpy.run_module("socks5", run_name="__main__")
    assert raised.value.code == 0
    assert "--listen" in capsys.readouterr().out


def test_importing_the_module_that_runs_it_runs_nothing() -> None:
    assert importlib.import_module("socks5.__main__").main is program.main


def test_it_is_imported_without_a_look_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = ModuleType("a program")
    monkeypatch.setitem(sys.modules, "socks5.app.console", imported)
    monkeypatch.delitem(sys.modules, "socks5.__main__", raising=False)
    monkeypatch.setattr(imported, "__getattr__", lambda name: gc.isenabled(), raising=False)
    assert gc.isenabled()
    assert importlib.import_module("socks5.__main__").main is False
    del sys.modules["socks5.__main__"]
    assert gc.isenabled()
