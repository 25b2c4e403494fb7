"""The programs of ``examples/`` do what they say, as processes and over real sockets."""

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process import conftest
from tests.process.program import (
    CONNECT,
    STOP_SECONDS,
    Program,
    client_of,
    connected,
    echoes,
    is_ended,
    poll,
    receive,
    reply,
    request,
    running,
)

echo = conftest.echo

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

NOT_ALLOWED = 2


@contextmanager
def example(name: str, *arguments: str | int, directory: Path) -> Iterator[Program]:
    """A run of one program, which must not complain."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    with running(directory, command) as program:
        yield program
        program.must_not_complain()


def port_of(program: Program, name: str) -> int:
    """The port that the program prints behind *name*."""

    def printed() -> re.Match[str] | None:
        assert program.process.poll() is None, program.output
        return re.search(rf"^{name} (\d+)$", program.output, re.MULTILINE)

    return int(poll(printed, f"the port of {name}")[1])


def test_every_example_is_tried_here() -> None:
    tried = {"inside_a_service.py", "own_rule.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tried


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_says_at_its_top_how_to_run_it(path: Path) -> None:
    assert f"    python examples/{path.name} " in path.read_text().partition("import")[0]


def test_a_proxy_inside_a_service_stands_next_to_another_server(tmp_path: Path) -> None:
    with example("inside_a_service.py", 0, 0, directory=tmp_path) as program:
        echo = ("127.0.0.1", port_of(program, "echo"))
        proxy = ("127.0.0.1", port_of(program, "proxy"))
        with client_of(echo) as client:
            assert echoes(client)
        with connected(proxy, echo) as client:
            assert echoes(client)
            program.signal(signal.SIGINT)
            assert program.wait(STOP_SECONDS) == 0
            assert is_ended(client)


@pytest.mark.parametrize("target", ["127.0.0.1", "localhost"])
def test_own_rules_allow_the_ports_that_were_named(
    target: str, tmp_path: Path, echo: tuple[str, int]
) -> None:
    with example("own_rule.py", 0, 80, echo[1], directory=tmp_path) as program:
        proxy = ("127.0.0.1", port_of(program, "proxy"))
        with client_of(proxy) as client:
            request(client, CONNECT, target, echo[1])
            assert reply(client)[0] == 0
            assert echoes(client)


@pytest.mark.parametrize(
    ("host", "offset"), [("127.0.0.1", 1), ("host.internal", 0), ("HOST.INTERNAL.", 0)]
)
def test_own_rules_forbid_the_rest(
    host: str, offset: int, tmp_path: Path, echo: tuple[str, int]
) -> None:
    with example("own_rule.py", 0, echo[1], directory=tmp_path) as program:
        proxy = ("127.0.0.1", port_of(program, "proxy"))
        with client_of(proxy) as client:
            request(client, CONNECT, host, echo[1] - offset)
            assert reply(client)[0] == NOT_ALLOWED
            assert receive(client, 1) == b""
