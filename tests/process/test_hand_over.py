"""SIGUSR2: another process with the same command line takes over, and nobody is refused."""

import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.process.manager import Manager
from tests.process.program import (
    COMMANDS,
    PATIENCE,
    STOP_SECONDS,
    Program,
    client_of,
    connected,
    echoes,
    poll,
    proxy,
    receive,
    running,
)
from tests.process.test_drain import is_refused
from tests.process.test_workers import children, is_running
from tests.support.ports import free_port

CHANGING = """\
import sys
from pathlib import Path
exec(Path("changed.py").read_text())
from socks5.app.console import main
main([*sys.argv[1:], *Path("more").read_text().split()])
"""
"""The program, with options that can change between two starts: those of a file, and what a script does."""


class Changing:
    """A proxy of which another process may take over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.command = [sys.executable, "-c", CHANGING]
        self.says("")
        self.runs("")

    def says(self, options: str) -> None:
        """The options of the next start."""
        (self.directory / "more").write_text(options)

    def runs(self, script: str) -> None:
        """What the next start begins with."""
        (self.directory / "changed.py").write_text(script)


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Changing]:
    """No process in its folder outlives the test, also where one took over when nobody waited for it any more."""
    yield Changing(tmp_path)
    for each in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if each.readlink() == tmp_path:
                os.kill(int(each.parent.name), signal.SIGKILL)


@contextmanager
def successor(program: Program, to: int | None = None) -> Iterator[int]:
    """Have another process take over from the program, or from the one with that number. It does not outlive the block.

    :returns: its number.
    """
    taken = r"SIGUSR2: process (\d+) has taken over"
    before = len(re.findall(taken, program.output))
    os.kill(program.process.pid if to is None else to, signal.SIGUSR2)
    poll(lambda: len(re.findall(taken, program.output)) > before, "it takes over")
    number = int(re.findall(taken, program.output)[-1])
    try:
        yield number
    finally:
        for each in (number, *children_of(number)):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)


def children_of(number: int) -> list[int]:
    with suppress(OSError):
        return list(map(int, Path(f"/proc/{number}/task/{number}/children").read_text().split()))
    return []


@contextmanager
def load(address: tuple[str, int], echo: tuple[str, int]) -> Iterator["Load"]:
    """Clients that come as long as the block lasts. None may fail."""
    clients = Load(address, echo)
    try:
        yield clients
    finally:
        clients.end()
    assert clients.failures == []


class Load:
    """Clients that come one after the other, in several threads, each with a session of its own."""

    def __init__(self, address: tuple[str, int], echo: tuple[str, int]) -> None:
        self._address = address
        self._echo = echo
        self._is_over = threading.Event()
        self.served = 0
        self.failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._come) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _come(self) -> None:
        while not self._is_over.is_set():
            try:
                with connected(self._address, self._echo) as client:
                    assert echoes(client)
                self.served += 1
            except Exception as error:
                self.failures.append(error)

    def end(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def go_on(self) -> None:
        """Wait for some more clients."""
        goal = self.served + 20
        poll(lambda: self.served >= goal or self.failures, "clients are served")


@pytest.mark.parametrize(
    ("before", "behind"),
    [("", ""), ("--workers=2", "--workers=2"), ("--workers=3", ""), ("", "--workers=2")],
)
def test_nobody_is_refused_while_another_process_takes_over(
    before: str, behind: str, changing: Changing, echo: tuple[str, int]
) -> None:
    """However many workers either has. Sessions go on in the old one, which ends with the last of them."""
    changing.says(before)
    with ExitStack() as stack, proxy(changing.directory, command=changing.command) as program:
        address = ("127.0.0.1", program.port)
        old = stack.enter_context(connected(address, echo))
        changing.says(behind)
        with load(address, echo) as clients:
            clients.go_on()
            new = stack.enter_context(successor(program))
            clients.go_on()
            assert program.process.poll() is None
            assert echoes(old)
            old.close()
            assert program.wait() == 0, program.output
            clients.go_on()
        assert is_running(new)
        program.must_not_complain()
        assert "died" not in program.output


def test_who_has_taken_over_may_hand_over(changing: Changing, echo: tuple[str, int]) -> None:
    """With all sockets, however many they were once."""
    changing.says("--workers=2")
    with ExitStack() as stack, proxy(changing.directory, command=changing.command) as program:
        address = ("127.0.0.1", program.port)
        changing.says("")
        with load(address, echo) as clients:
            first = stack.enter_context(successor(program))
            assert program.wait() == 0
            clients.go_on()
            changing.says("--workers=2")
            stack.enter_context(successor(program, first))
            poll(lambda: not is_running(first), "the end of the first")
            clients.go_on()
        program.must_not_complain()


@pytest.mark.parametrize("options", ["", "--workers=2"])
def test_the_successor_ends_as_any_other(options: str, changing: Changing) -> None:
    """Then nobody listens any more."""
    changing.says(options)
    with proxy(changing.directory, command=changing.command) as program:
        address = ("127.0.0.1", program.port)
        with successor(program) as new:
            assert program.wait() == 0
            with client_of(address) as client:
                client.sendall(b"\5\1\0")
                assert receive(client, 2) == b"\5\0"
            os.kill(new, signal.SIGTERM)
            poll(lambda: not is_running(new), "its end", STOP_SECONDS)
        assert is_refused(address)


@pytest.mark.parametrize(("before", "behind"), [("", ""), ("--workers=2", ""), ("", "--workers=2")])
def test_the_file_of_a_unix_socket_stays_and_is_the_successors(
    before: str, behind: str, changing: Changing, tmp_path: Path
) -> None:
    path = tmp_path / "proxy.sock"
    changing.says(before)
    listen = f"--listen=unix:{path}"
    with proxy(tmp_path, listen, command=changing.command) as program:
        program.wait_until_it_listens(2)
        changing.says(behind)
        with successor(program) as new:
            assert program.wait() == 0
            with client_of(str(path), socket.AF_UNIX) as client:
                client.sendall(b"\5\1\0")
                assert receive(client, 2) == b"\5\0"
            os.kill(new, signal.SIGTERM)
            poll(lambda: not is_running(new), "its end", STOP_SECONDS)
    assert not path.exists()


ACTIVATED = """\
import os, socket
if "LISTEN_FDS" not in os.environ:
    number = socket.create_server(("127.0.0.1", 0)).detach()
    os.dup2(os.dup(number), 3)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="a")
"""
"""The program as systemd starts it, the first time."""


@pytest.mark.parametrize(
    "options", ["--listen=systemd:domain=INET:name=a", "--config=proxy.toml"], ids=["line", "file"]
)
def test_a_socket_of_systemds_is_handed_on(
    options: str, changing: Changing, echo: tuple[str, int]
) -> None:
    (changing.directory / "proxy.toml").write_text(
        '[server]\nhand_over = "30m"\n[listener.a]\nsystemd = "a"\n'
    )
    changing.says(options)
    changing.runs(ACTIVATED)
    with running(changing.directory, changing.command) as program:
        [address] = program.wait_until_it_listens()
        with connected(address, echo) as client, successor(program) as first:
            assert echoes(client)
            with connected(address, echo) as other:
                assert echoes(other)
            with successor(program, first), connected(address, echo) as other:
                assert echoes(other)
        if "config" in options:
            assert "SOCKS5 proxy drains, for 1800 s at the most" in program.output


def test_what_a_reload_has_opened_is_handed_on_and_what_it_has_closed_is_not(
    changing: Changing, echo: tuple[str, int]
) -> None:
    numbers = [free_port() for _ in range(3)]
    kept, closed, opened = (("127.0.0.1", number) for number in numbers)
    places = [f'[listener.l{each}]\naddress = "127.0.0.1"\nport = {each}\n' for each in numbers]
    file, workers = changing.directory / "s.toml", "server.workers = 2\n"
    file.write_text(workers + places[0] + places[1])
    changing.says("--config=s.toml")
    with ExitStack() as stack, running(changing.directory, changing.command) as program:
        program.wait_until_it_listens(2)
        old = stack.enter_context(connected(kept, echo))
        file.write_text(workers + places[0] + places[2])
        program.signal(signal.SIGHUP)
        poll(lambda: "listeners +1 -1" in program.output, "it is reloaded")
        with load(opened, echo) as clients:
            clients.go_on()
            stack.enter_context(successor(program))
            clients.go_on()
            old.close()
            assert program.wait() == 0, program.output
            clients.go_on()
        assert is_refused(closed)
        assert echoes(stack.enter_context(connected(kept, echo)))
        program.must_not_complain()


FAILURES = {
    "raise SystemExit(3)": "the new process ended before it served; its lines say why",
    "sys.argv += ['--access-log', '/proc/log']": (
        "socks5 does not start: --access-log: expected a file that can be written, got /proc/log (No such file or "
        "directory)"
    ),
}


@pytest.mark.parametrize("options", ["", "--workers=2"])
@pytest.mark.parametrize(("script", "reason"), FAILURES.items())
def test_the_old_process_goes_on_if_the_new_one_does_not_serve(
    script: str, reason: str, options: str, changing: Changing, echo: tuple[str, int]
) -> None:
    """The line holds what the new one has said, or that it said nothing; with workers their lines do."""
    changing.says(options)
    with proxy(changing.directory, command=changing.command) as program:
        with connected(("127.0.0.1", program.port), echo) as client:
            changing.runs(script)
            program.signal(signal.SIGUSR2)
            line = "SIGUSR2: nothing is handed over: "
            poll(lambda: line in program.output, "the refusal")
            assert echoes(client)
        if not options or "SystemExit" in script:
            assert line + reason in program.messages
        with connected(("127.0.0.1", program.port), echo) as client:
            assert echoes(client)
        changing.runs("")
        with successor(program):
            assert program.wait() == 0


def test_systemd_is_told_of_the_new_main_process_before_that_speaks(
    changing: Changing, manager: Manager, tmp_path: Path, echo: tuple[str, int]
) -> None:
    with (
        ExitStack() as stack,
        proxy(tmp_path, command=changing.command, environment=manager.environment) as program,
    ):
        poll(lambda: manager.has_heard("READY=1"), "it is ready")
        stack.enter_context(connected(("127.0.0.1", program.port), echo))
        new = stack.enter_context(successor(program))
        poll(lambda: manager.has_heard(f"MAINPID={new}"), "it is told")
        serves = "READY=1\nSTATUS=listens on 127.0.0.1"
        poll(lambda: manager.has_heard(serves), "the new one serves")
        poll(lambda: manager.has_heard("WATCHDOG=1"), "the new one lives")
        ours = manager.senders.count(program.process.pid)
        assert set(manager.senders[:ours]) == {program.process.pid}
        assert set(manager.senders[ours:]) == {new}


def test_twistd_hands_nothing_over_and_says_so(tmp_path: Path) -> None:
    with proxy(tmp_path, command=COMMANDS["twistd"]) as program:
        program.signal(signal.SIGUSR2)
        poll(lambda: "only the program socks5 does that" in program.output, "the refusal")


def test_a_proxy_that_drains_hands_nothing_over(changing: Changing, echo: tuple[str, int]) -> None:
    """One that was handed over neither."""
    with (
        proxy(changing.directory, command=changing.command) as program,
        connected(("127.0.0.1", program.port), echo),
        successor(program),
    ):
        program.signal(signal.SIGUSR2)
        line = "SIGUSR2: nothing is handed over, for the proxy drains"
        poll(lambda: line in program.messages, "the refusal")
        program.signal(signal.SIGTERM)
        assert program.wait(STOP_SECONDS) == 0


def test_a_worker_leaves_the_signal_to_its_parent(changing: Changing) -> None:
    changing.says("--workers=2")
    with proxy(changing.directory, command=changing.command) as program:
        workers = children(program)
        for each in workers:
            os.kill(each, signal.SIGUSR2)
        program.terminate()
        assert "died" not in program.output
