"""SIGHUP with a file of settings and workers: all of them hold to the same text, and nobody is lost."""

import os
import re
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.process.program import (
    CONNECT,
    MODULE,
    client_of,
    connected,
    echoes,
    poll,
    reply,
    request,
    running,
)
from tests.process.test_drain import is_refused
from tests.process.test_reload import CLOSED, FILE, reload
from tests.process.test_workers import children
from tests.support.ports import free_port


def test_a_successor_of_a_killed_worker_has_what_is_in_force(
    tmp_path: Path, echo: tuple[str, int]
) -> None:
    """Whatever the file says by then."""
    file = f"server.workers = 2\n{FILE}"
    more = file.replace("listener.here", "listener.renamed") + '[listener.more]\nunix = "u"\n'
    (tmp_path / "s.toml").write_text(file)
    with running(tmp_path, [*MODULE, "--config", "s.toml"]) as program, ExitStack() as stack:
        where = ("127.0.0.1", program.port)
        assert "listeners +1 -0" in reload(program, more + CLOSED)
        (tmp_path / "s.toml").write_text("it is being written")
        first = children(program)
        for each in first:
            os.kill(each, signal.SIGKILL)
        poll(lambda: len({*children(program)} - {*first}) == 2, "both have successors")
        for address, family in ((where, socket.AF_INET), (str(tmp_path / "u"), socket.AF_UNIX)):
            for _ in range(8):
                client = stack.enter_context(client_of(address, family))
                request(client, CONNECT, *echo)
                assert reply(client)[0] == 2
        assert "listeners +0 -1" in reload(program, file)
        for _ in range(8):
            assert echoes(stack.enter_context(connected(where, echo)))
        program.terminate()


def test_who_has_come_to_a_listener_that_closes_is_served(
    tmp_path: Path, echo: tuple[str, int]
) -> None:
    """By the worker in whose queue he waits; then nobody listens there, until somebody does again."""
    where = ("127.0.0.1", free_port())
    file = f"server.workers = 2\n{FILE}"
    more = file + f'[listener.more]\naddress = "127.0.0.1"\nport = {where[1]}\n'
    (tmp_path / "s.toml").write_text(more)
    with running(tmp_path, [*MODULE, "--config", "s.toml"]) as program, ExitStack() as stack:
        program.wait_until_it_listens(2)
        workers = children(program)
        for times in range(3):
            for each in workers:
                os.kill(each, signal.SIGSTOP)
            waiting = [stack.enter_context(client_of(where)) for _ in range(20)]
            (tmp_path / "s.toml").write_text(file)
            program.signal(signal.SIGHUP)
            for each in workers:
                os.kill(each, signal.SIGCONT)
            for client in waiting:
                request(client, CONNECT, *echo)
                assert reply(client)[0] == 0

            def is_closed(times: int = times) -> bool:
                return is_refused(where) and program.output.count("listeners +0 -1") > times

            poll(is_closed, "nobody listens, and that is said")
            assert "listeners +1 -0" in reload(program, more)
        for _ in range(20):
            assert echoes(stack.enter_context(connected(where, echo)))
        assert "not reloaded" not in program.output
        program.terminate()


WATCHFUL = """\
from socks5.app import reload
reload.LOOK_INTERVAL = 0.1
from socks5.app.console import main
main()
"""
"""The program, which looks at lists all the time."""

IMPATIENT = """\
from socks5.app import agreement
agreement.PATIENCE = 0.5
from socks5.app.console import main
main()
"""
"""The program, whose parent waits for no worker long."""

LISTED = """\
networks.s = { entries = "file:list" }
[[rule]]
name = "no"
action = "deny"
networks = "@s"
[[rule]]
name = "all"
action = "allow"
networks = "@loopback"
"""


def test_a_list_that_changes_changes_in_all_workers(tmp_path: Path, echo: tuple[str, int]) -> None:
    """Though the file is being written. A signal that a terminal sends to workers, too, is the parent's to hear."""
    (tmp_path / "list").write_text("192.0.2.0/24\n")
    networks, rules = LISTED.split("\n", 1)
    (tmp_path / "s.toml").write_text(f"server.workers = 2\n{networks}\n{FILE}{rules}")
    command = [sys.executable, "-c", WATCHFUL, "--config", "s.toml"]
    with running(tmp_path, command) as program, ExitStack() as stack:
        where = ("127.0.0.1", program.port)
        clients = [stack.enter_context(connected(where, echo)) for _ in range(16)]
        (tmp_path / "s.toml").write_text("it is being written")
        for each in children(program):
            os.kill(each, signal.SIGHUP)
        (tmp_path / "list").write_text("127.0.0.1\n")
        poll(lambda: "reloaded: 2 rules, listeners +0 -0, 16 sessions" in program.output, "it ends")
        assert [client.recv(1) for client in clients] == [b""] * 16
        assert "list has changed: taken for s.toml" in program.messages
        assert "SIGHUP" not in program.output
        program.terminate()


def test_a_worker_that_does_not_answer_is_named_and_all_stays(
    tmp_path: Path, echo: tuple[str, int]
) -> None:
    """Until it lives again, or another in its place."""
    file = f"server.workers = 2\n{FILE}"
    (tmp_path / "s.toml").write_text(file)
    command = [sys.executable, "-c", IMPATIENT, "--config", "s.toml"]
    with running(tmp_path, command) as program:
        where = ("127.0.0.1", program.port)
        stopped = children(program)[0]
        os.kill(stopped, signal.SIGSTOP)
        (tmp_path / "s.toml").write_text(file + CLOSED)
        program.signal(signal.SIGHUP)
        poll(lambda: "is not reloaded; that of" in program.output, "it fails")
        os.kill(stopped, signal.SIGCONT)
        assert re.search(r"worker-\d: not ready after 0.5 s", program.output)
        for _ in range(8):
            with connected(where, echo) as client:
                assert echoes(client)
        said = (
            "2 rules, listeners +0 -0"  # by and by, where the machine is too busy for the impatient
        )
        poll(lambda: said in reload(program, file + CLOSED), "all are ready")
        program.terminate()
