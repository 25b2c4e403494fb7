"""A file in place of the options: the same service comes of it, in one process or in several."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.usage import UsageError

from socks5.app.assembly import makeService
from socks5.app.config.document import Refused
from socks5.app.configured import Configured, received, sentences
from socks5.app.estate import Left
from socks5.app.inherit import file_of, told_by
from socks5.app.options import Options
from socks5.policy.ruleset import Ruleset
from socks5.protocol.messages import Command
from tests.app.test_workers import Spawner

pytestmark = pytest.mark.usefixtures("handlers")


@pytest.fixture(autouse=True)
def _the_limit_of_open_files_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socks5.app.assembly.raise_descriptor_limit", lambda: None)


def options_of(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def file(folder: Path, text: str) -> str:
    path = folder / "s.toml"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


RULES = """\
server.commands = "connect"
log.access = "a.log"
[listener.a]
address = "127.0.0.1"
port = 0
[[rule]]
name = "web"
action = "allow"
networks = "@public"
"""


def test_the_service_is_the_one_that_the_file_asks_for(tmp_path: Path) -> None:
    service: Any = makeService(options_of("--config", file(tmp_path, RULES)), MemoryReactorClock())
    assert service.factory.settings.commands == {Command.CONNECT}
    assert isinstance(service.factory.policy.rules, Ruleset)
    assert service.access_log is not None


def test_what_is_hardly_meant_is_said_in_the_log(tmp_path: Path) -> None:
    options = options_of("--config", file(tmp_path, 'server.outgoing = "192.0.2.1"'))
    with capturedLogs() as events:
        makeService(options, MemoryReactorClock())
    [warning] = [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]
    assert warning.startswith(
        f"{tmp_path}/s.toml:1:19: server.outgoing: no address of this machine"
    )


def test_a_file_with_errors_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = options_of("--config", file(tmp_path, "server.workers = 0\nx = 1"))
    with pytest.raises(SystemExit) as raised:
        makeService(options, MemoryReactorClock())
    assert raised.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == [f"{tmp_path}/s.toml:2:1: x: unknown key", "2 errors; nothing was started"]


def test_what_is_wrong_with_options_starts_nothing_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as raised:
        makeService(options_of("--port", "x", "--ban-after", "y"), MemoryReactorClock())
    assert raised.value.code == 2
    assert capsys.readouterr().err == (
        'socks5: --ban-after: expected a whole number from 0 to 1000000, got "y"\n'
        'socks5: --port: expected a whole number from 0 to 65535, got "x"\n'
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server.workers = 0\nx = 1", "; 1 more errors"),
        ("x = 1", "s.toml:1:1: x: unknown key"),
    ],
)
def test_the_process_that_was_to_be_taken_over_from_is_told_of_errors(
    text: str, told: str, tmp_path: Path
) -> None:
    ours, theirs = socket.socketpair()
    options = options_of("--config", file(tmp_path, text))
    options.left = Left(3, [], theirs.detach())
    with pytest.raises(SystemExit):
        makeService(options, MemoryReactorClock())
    with ours:
        said = ours.recv(1000).decode()
        assert said.startswith(f"!{tmp_path}/s.toml:1:")
        assert said.endswith(f"{told}\n")


def test_how_long_sessions_may_go_on_the_file_says(tmp_path: Path) -> None:
    text = 'server = { drain = "30s", hand_over = "2h" }'
    asked = Configured(file(tmp_path, text), MemoryReactorClock())
    assert (asked.drain, asked.hand_over) == (30, 7200)
    asked = Configured(file(tmp_path, ""), MemoryReactorClock())
    assert (asked.drain, asked.hand_over) == (0, 3600)


def test_errors_are_counted() -> None:
    with pytest.raises(Refused) as raised:
        received(b'{"text": "a", "file": "s.toml", "folder": "/", "lists": {}}')
    assert sentences(raised.value.problems, "").endswith("\n1 error\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--ban-after", "10"],
            "--ban-after does not go with --config; write after = 10 into [bans]",
        ),
        (
            ["--idle-timeout", "30"],
            '--idle-timeout does not go with --config; write idle = "30s" into [timeouts]',
        ),
        (
            ["--idle-timeout", "2h"],
            '--idle-timeout does not go with --config; write idle = "2h" into [timeouts]',
        ),
        (
            ["--commands", "connect,udp"],
            '--commands does not go with --config; write commands = ["connect", "udp"] into [server]',
        ),
        (["--open"], "--open does not go with --config; write open = true into a [listener.NAME]"),
        (["--port", "x"], "--port does not go with --config"),
        (["--help-auth"], "--help-auth does not go with --config"),
    ],
)
def test_another_option_does_not_go_with_a_file(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    for both in (["--config", "x", *arguments], [*arguments, "--config", "x"]):
        with pytest.raises(UsageError) as raised:
            options_of(*both)
        assert str(raised.value) == sentence
    with pytest.raises(UsageError, match="--config: expected a file, got ''"):
        options_of("--config", "")


def test_a_worker_has_the_text_of_its_parent_and_its_lists(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("10.0.0.0/8\n")
    text = 'bans.exempt = "file:home"\nserver.workers = "auto"\nlistener.a = { unix = "a.sock" }\n'
    parent = Configured(file(tmp_path, text), MemoryReactorClock())
    assert parent.workers == len(os.sched_getaffinity(0))
    told = file_of(parent.told)
    (tmp_path / "home").unlink()
    (tmp_path / "s.toml").unlink()
    document = received(told_by(told.fileno()))
    assert received(told_by(told.fileno())) == document
    assert (document.text, document.folder) == (text, str(tmp_path))
    assert document.lists == {"home": "10.0.0.0/8\n"}
    told.close()


def test_what_workers_are_told_is_the_last_thing_before_their_channel(tmp_path: Path) -> None:
    text = "server.workers = 2\n" + 'listener.a = { address = "127.0.0.1", port = 0 }\n'
    spawner = Spawner()
    options = options_of("--config", file(tmp_path, text))
    _, workers = makeService(options, spawner)  # type: ignore[misc]
    workers.startService()
    _, _, words = spawner.spawned[0]
    told = max(words["childFDs"]) - 1
    assert b"server.workers = 2" in told_by(words["childFDs"][told])
    assert f'"told": {told}' in words["env"]["SOCKS5_WORKER"]
    ended = workers.stopService()
    for number in (0, 1):
        spawner.end(number, 0)
    spawner.advance(1)
    assert ended.called
    spawner.close()


@pytest.mark.parametrize("more", ["", "[server]\n"])
def test_the_last_rule_does_not_go_away_unless_somebody_says_what_holds_then(
    more: str, tmp_path: Path
) -> None:
    before = Configured(file(tmp_path, RULES), MemoryReactorClock())
    file(tmp_path, f"[udp]\n{more}")
    with pytest.raises(Refused) as raised:
        before.again()
    line = 2 if more else 1
    assert str(raised.value) == (
        f'{tmp_path}/s.toml:{line}:1: server.default: expected default = "allow", for the last [[rule]] went away, '
        "and without one everybody would be let in; or a rule"
    )
    file(tmp_path, 'server.default = "allow"')
    after = before.again()
    assert after.made.rules is None
    file(tmp_path, "")
    assert after.again().made.rules is None
