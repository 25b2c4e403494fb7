"""The programs of ``examples/`` do what they say, as processes and over real sockets."""

import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.servers import Web, serving
from tests.process import conftest
from tests.process.program import (
    ASSOCIATE,
    BIND,
    CONNECT,
    PATIENCE,
    STOP_SECONDS,
    Program,
    client_of,
    connected,
    echoes,
    is_ended,
    log_in,
    poll,
    reply,
    request,
    running,
    target,
    until_end,
)
from tests.process.program import proxy as running_proxy
from tests.support.skips import needs_scrapy

echo = conftest.echo

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

NOT_ALLOWED, HOST_UNREACHABLE = 2, 4


@contextmanager
def example(name: str, *arguments: str | int, directory: Path, **options: Any) -> Iterator[Program]:
    """A run of one program, which must not complain."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    with running(directory, command, **options) as program:
        yield program
        program.must_not_complain()


def port_of(program: Program, where: str = r"^proxy .*port=") -> tuple[str, int]:
    """Where it listens: the port that it prints behind *where*."""

    def printed() -> re.Match[str] | None:
        assert program.process.poll() is None, program.output
        return re.search(rf"{where}(\d+)", program.output, re.MULTILINE)

    return "127.0.0.1", int(poll(printed, f"a port behind {where}")[1])


def answer(proxy: tuple[str, int], host: str, port: int, command: int = CONNECT) -> int:
    """What a client is answered: REP."""
    with client_of(proxy) as client:
        request(client, command, host, port)
        return reply(client)[0]


def test_every_example_is_tried_here() -> None:
    tried = set(re.findall(r'\("(\w+\.py)"', Path(__file__).read_text()))
    assert {path.name for path in EXAMPLES.glob("*.py")} == tried


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_says_at_its_top_how_to_run_it(path: Path) -> None:
    assert f"    python examples/{path.name} " in path.read_text().partition("import")[0]


def test_a_proxy_inside_a_service_stands_next_to_another_server(tmp_path: Path) -> None:
    with example("inside_a_service.py", 0, 0, directory=tmp_path) as program:
        echo = port_of(program, " Factory starting on ")
        proxy = port_of(program, "the proxy listens on .*port=")
        with client_of(echo) as client:
            assert echoes(client)
        assert answer(proxy, "192.0.2.1", echo[1]) == NOT_ALLOWED
        with connected(proxy, echo) as client:
            assert echoes(client)
            program.signal(signal.SIGINT)
            assert program.wait(STOP_SECONDS) == 0
            assert is_ended(client)


def test_own_rules_allow_the_ports_that_were_named(tmp_path: Path, echo: tuple[str, int]) -> None:
    with example("own_rule.py", 0, 80, echo[1], directory=tmp_path) as program:
        proxy = port_of(program)
        for host in ("127.0.0.1", "localhost"):
            with connected(proxy, (host, echo[1])) as client:
                assert echoes(client)
        for host in ("host.internal", "HOST.INTERNAL."):
            assert answer(proxy, host, echo[1]) == NOT_ALLOWED
        assert answer(proxy, "127.0.0.1", echo[1] - 1) == NOT_ALLOWED


def test_users_are_rows_of_a_database(tmp_path: Path, echo: tuple[str, int]) -> None:
    for name, group in [("alice", "staff"), ("bob", "guests")]:
        (tmp_path / "password").write_text(f"{name}'s\n")
        add = ("own_checker.py", "add", "accounts.db", name, group)
        with (
            (tmp_path / "password").open() as typed,
            example(*add, directory=tmp_path, stdin=typed) as program,
        ):
            assert program.wait() == 0
    with example("own_checker.py", "accounts.db", 0, directory=tmp_path) as program:
        proxy = port_of(program)
        for name, code in [("alice", 0), ("bob", NOT_ALLOWED)]:
            with client_of(proxy) as client:
                assert log_in(client, name.encode(), f"{name}'s".encode()) == 0
                client.sendall(bytes((5, CONNECT, 0)) + target(*echo))
                assert reply(client)[0] == code
        for name in (b"bob", b"eve"):
            with client_of(proxy) as client:
                assert log_in(client, name, b"alice's") != 0


def test_sessions_are_listed_and_ended(tmp_path: Path, echo: tuple[str, int]) -> None:
    with example("session_list.py", 0, "control", directory=tmp_path) as program:
        proxy = port_of(program)
        control = client_of(str(tmp_path / "control"), socket.AF_UNIX)
        with control, control.makefile("rw") as person:

            def says(order: str) -> str:
                print(order, file=person, flush=True)
                return person.readline()

            with connected(proxy, echo) as client:
                assert f" connect 127.0.0.1:{echo[1]} succeeded " in says("list")
                assert says("kick 17") == "ends 0\n"
                assert says("kick 1") == "ends 1\n"
                assert until_end(client) == b""
            with connected(proxy, echo):
                assert says("help").startswith("list, ")
                print("watch", file=person, flush=True)
                assert says("kick 127.0.0.1") == "ends 1\n"
                assert person.readline().endswith(": ended by the operator\n")


def test_one_name_is_a_unix_socket(tmp_path: Path, echo: tuple[str, int]) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        dialer = ("own_dialer.py", 0, "database.example", "socket")
        with example(*dialer, directory=tmp_path) as program:
            proxy = port_of(program)
            with connected(proxy, ("Database.Example", 5432)) as client:
                with listener.accept()[0] as database:
                    database.sendall(b"hello")
                assert until_end(client) == b"hello"
            assert answer(proxy, "database.example", 0, BIND) == HOST_UNREACHABLE
            assert answer(proxy, "0.0.0.0", 0, BIND) == 0
            with connected(proxy, echo) as client:
                assert echoes(client)
            its_datagrams_go_to_others(proxy)


@needs_scrapy
def test_a_crawl_goes_through_two_proxies(tmp_path: Path) -> None:
    directories = [tmp_path / "one", tmp_path / "other", tmp_path / "crawl"]
    for directory in directories:
        directory.mkdir()
    one, other, crawl = directories
    with (
        Web() as web,
        serving(web),
        running_proxy(one, "--auth", "memory:alice:é") as first,
        running_proxy(other) as second,
    ):
        paths = [f"/{number}" for number in range(6)]
        links = "".join(f'<a href="{path}">' for path in paths).encode()
        web.pages = dict.fromkeys(["/", *paths], ("text/html", links))
        login = "alice:%C3%A9@"
        proxies = [f"socks5://{login}127.0.0.1:{first.port}", f"socks5://127.0.0.1:{second.port}"]
        start = f"http://127.0.0.1:{web.port}/"
        with example("crawler.py", start, *proxies, directory=crawl) as program:
            assert program.wait() == 0
        assert program.output.count("200 http://") == 7
        assert "alice" not in program.output
    bound = [{record["bound"] for record in each.records} for each in (first, second)]
    assert all(bound)
    assert bound[0] | bound[1] == web.clients
    assert {record["user"] for record in first.records} == {"alice"}


def test_some_names_are_reached_through_a_chain(tmp_path: Path, echo: tuple[str, int]) -> None:
    directories = [tmp_path / "first", tmp_path / "second"]
    for directory in directories:
        directory.mkdir()
    with (
        running_proxy(directories[0]) as first,
        running_proxy(directories[1], "--auth", "memory:alice:secret") as second,
    ):
        hops = (
            f"socks5://127.0.0.1:{first.port}",
            f"socks5://alice:secret@127.0.0.1:{second.port}",
        )
        with example("chained_server.py", 0, "localhost", *hops, directory=tmp_path) as program:
            proxy = port_of(program)
            for host in ("localhost", echo[0]):
                with connected(proxy, (host, echo[1])) as client:
                    assert echoes(client)
                a_datagram_passes(proxy, host)
            lines = [
                f"connect localhost:{echo[1]} through the chain 5 octets up, 5 down",
                "udp 0.0.0.0:0 through the chain 5 octets up, 0 down",
                f"connect {echo[0]}:{echo[1]} directly 5 octets up, 5 down",
                "udp 0.0.0.0:0 directly 5 octets up, 0 down",
            ]
            poll(lambda: program.output.count(" down") == 4, "the log")
            assert sorted(program.output.splitlines()[1:]) == sorted(lines)
    assert sorted(each["command"] for each in first.records) == ["connect"] * 2 + ["udp"]
    assert [each["user"] for each in second.records] == ["alice"] * 2


def a_datagram_passes(proxy: tuple[str, int], host: str) -> None:
    with client_of(proxy) as client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.settimeout(PATIENCE)
        request(client, ASSOCIATE)
        far.sendto(bytes(3) + target(host, far.getsockname()[1]) + b"hello", reply(client)[1])
        assert far.recv(100) == b"hello"


def its_datagrams_go_to_others(proxy: tuple[str, int]) -> None:
    with client_of(proxy) as client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.settimeout(PATIENCE)
        request(client, ASSOCIATE)
        relay = reply(client)[1]
        for place in (("database.example", far.getsockname()[1]), far.getsockname()):
            far.sendto(bytes(3) + target(*place) + place[0].encode(), relay)
        assert far.recv(100) == b"127.0.0.1"
