"""Starting: every way to start it, where it then listens, what it says, and why it does not start."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from socks5.app.option_table import ROWS
from tests.process.program import (
    ASSOCIATE,
    BIND,
    COMMANDS,
    MODULE,
    SOURCES,
    TWISTD,
    client_of,
    connected,
    echoes,
    proxy,
    reply,
    request,
    running,
)

EVERY_COMMAND = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


def output_of(command: Sequence[str], directory: Path) -> tuple[int, str]:
    """The exit status, and both outputs, of a command that ends by itself."""
    with running(directory, command) as program:
        return program.wait(), program.output


# ---------------------------------------------------------------- every way to start it


@EVERY_COMMAND
def test_every_command_has_the_same_options(command: Sequence[str], tmp_path: Path) -> None:
    status, text = output_of([*command, "--help"], tmp_path)
    assert status == 0
    usage = "socks5 [run] [OPTIONS]" if command == MODULE else "twistd -n socks5 [OPTIONS]"
    assert text.startswith(f"Usage: {usage}\n")
    assert all(f"--{name}" in text for name in ROWS)


@pytest.mark.parametrize(
    ("option", "expected"),
    [([], "socks5.net.reactor.PollerReactor"), (["--reactor=poll"], "PollReactor")],
    ids=["ours", "another"],
)
def test_twistd_chooses_the_reactor(
    option: Sequence[str], expected: str, tmp_path: Path, echo: tuple[str, int]
) -> None:
    command = [str(TWISTD), "-n", "--pidfile=", *option, "socks5"]
    with proxy(tmp_path, command=command) as program:
        with connected(("127.0.0.1", program.port), echo) as client:
            assert echoes(client)
        assert f"{expected}." in program.output


def test_an_import_error_is_shown(tmp_path: Path) -> None:
    """twistd would only say that it does not know the command."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "typing_extensions.py").write_text("raise ImportError('a broken installation')\n")
    path = {"PYTHONPATH": f"{broken}{os.pathsep}{SOURCES}"}
    with running(tmp_path, MODULE, environment=path) as program:
        assert program.wait() == 1
        assert "a broken installation" in program.output


@EVERY_COMMAND
def test_every_command_runs_the_same_service_and_says_what_is_useful_and_no_more(
    command: Sequence[str], tmp_path: Path, echo: tuple[str, int]
) -> None:
    """Also while sessions listen and dial."""
    with proxy(tmp_path, command=command) as program:
        proxy_address = ("127.0.0.1", program.port)
        with connected(proxy_address, echo) as client:
            assert echoes(client)
        for number in (BIND, ASSOCIATE):
            with client_of(proxy_address) as client:
                request(client, number)
                assert reply(client)[0] == 0
        program.terminate()
        frame = ("twistd ", "reactor class:", "Starting reactor", "Main loop", "Server Shut Down")
        ours = [message for message in program.messages if not message.startswith(frame)]
        records = {record["command"]: record["bytes_up"] for record in program.records}
        assert records == {"connect": 5, "bind": 0, "udp": 0}
    assert ours[0] == f"SOCKS5 proxy listens on 127.0.0.1:{proxy_address[1]}"
    assert ours[1].startswith("SOCKS5 proxy stops; open sessions: ")
    assert ours[2:] == [f"SOCKS5 proxy listens no more on 127.0.0.1:{proxy_address[1]}"]


# ---------------------------------------------------------------- why it does not start


@pytest.mark.parametrize(
    ("options", "sentence", "is_usage"),
    [
        (
            ["-i", "::1", "--clients", "::1", "--interface", "0.0.0.0"],
            "--interface 0.0.0.0: others than this machine could reach it, ",
            True,
        ),
        (
            ["--port", "{taken}"],
            "socks5 does not start: cannot listen on 127.0.0.1 port {taken}: Address already in use",
            False,
        ),
        (
            ["-p", "0", "--access-log", "missing/access.log"],
            "--access-log: expected a file in a folder that exists, got ",
            True,
        ),
    ],
    ids=["open", "port", "access log"],
)
@EVERY_COMMAND
def test_what_keeps_it_from_starting_is_one_sentence(
    command: Sequence[str], tmp_path: Path, options: Sequence[str], sentence: str, is_usage: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = listening.getsockname()[1]
        words = [option.format(taken=taken) for option in options]
        status, text = output_of([*command, *words], tmp_path)
    assert status == (2 if is_usage else 1)
    if is_usage:
        assert len(text.splitlines()) == 1
    assert text.count(sentence.format(taken=taken)) == 1
    assert "Traceback" not in text
