"""Several processes on one port: shared work, a death that the others do not notice, an end in time."""

import os
import re
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from tests.process.program import (
    COMMANDS,
    STOP_SECONDS,
    Program,
    client_of,
    connected,
    echoes,
    poll,
    proxy,
    receive,
)


def children(program: Program) -> list[int]:
    """The processes that a program has started."""
    path = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children")
    return [int(number) for number in path.read_text().split()]


def at(program: Program) -> tuple[str, int]:
    return "127.0.0.1", program.port


def is_open(program: Program, path: Path) -> bool:
    """Whether the proxy or a worker has a file open."""
    processes = [str(program.process.pid), *children(program)]
    files = [file for each in processes for file in Path(f"/proc/{each}/fd").iterdir()]
    return any(os.path.realpath(file) == str(path) for file in files)


def must_all_serve(program: Program, echo: tuple[str, int]) -> None:
    """And their records, which are the first ones of a log, say which."""
    for _ in range(40):
        with connected(at(program), echo) as client:
            assert echoes(client)
    log = program.directory / "access.log"
    poll(lambda: log.exists() and len(program.records) == 40, "40 records")
    assert {record["worker"] for record in program.records} == {1, 2}


@pytest.mark.parametrize("command", COMMANDS)
def test_all_workers_serve_and_the_log_is_rotated_by_all(
    command: str, tmp_path: Path, echo: tuple[str, int]
) -> None:
    with proxy(tmp_path, "--workers=2", command=COMMANDS[command]) as program:
        assert len(children(program)) == 2
        must_all_serve(program, echo)
        old = (tmp_path / "access.log").rename(tmp_path / "access.log.1")
        program.signal(signal.SIGUSR1)
        poll(lambda: not is_open(program, old), "all have opened the log anew")
        must_all_serve(program, echo)


def test_a_worker_that_is_killed_is_started_again_and_the_others_notice_nothing(
    tmp_path: Path, echo: tuple[str, int]
) -> None:
    with proxy(tmp_path, "--workers=2") as program:
        before = poll(lambda: len(children(program)) == 2 and children(program), "two workers")
        clients = [connected(at(program), echo) for _ in range(16)]
        victim = before[0]
        os.kill(victim, signal.SIGKILL)
        poll(lambda: len(set(children(program)) - {victim}) == 2, "its successor")
        survivors = [client for client in clients if survives(client)]
        assert 0 < len(survivors) < 16, "each worker had some of them"
        for _ in range(8):
            with connected(at(program), echo) as client:
                assert echoes(client)
        for client in clients:
            client.close()
        assert "worker-" in program.output
        assert "started again" in program.output


def survives(client: socket.socket) -> bool:
    try:
        return echoes(client)
    except ConnectionError:
        return False


def test_ctrl_c_ends_them_all_in_order(tmp_path: Path, echo: tuple[str, int]) -> None:
    """A terminal tells every process of the group. How many sessions there were is said once, and no line is blank."""
    with (
        proxy(tmp_path, "--workers=2", start_new_session=True) as program,
        ExitStack() as clients,
    ):
        for _ in range(10):
            clients.enter_context(connected(at(program), echo))
        os.killpg(program.process.pid, signal.SIGINT)
        assert program.wait(STOP_SECONDS) == 0
        lines = program.messages
    assert "SOCKS5 proxy stops; open sessions: 10" in lines
    assert [line for line in lines if not re.sub(r"^\[worker-\d\]", "", line).strip()] == []
    assert sum("listens on" in line or "stops" in line for line in lines) == 2
    assert "died" not in program.output


def test_the_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with proxy(tmp_path, "--workers=2") as program:
        workers = poll(lambda: len(children(program)) == 2 and children(program), "two workers")
        with client_of(at(program)):
            program.process.kill()
            program.process.wait()
        poll(lambda: not any(is_running(worker) for worker in workers), "the workers' end")
        program.process.poll()


def is_running(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def association(program: Program) -> tuple[socket.socket, socket.socket, tuple[str, int]]:
    """A control connection, a socket to send datagrams from, and where to."""
    control = client_of(at(program))
    control.sendall(b"\5\1\0\5\3\0" + Address("0.0.0.0", 0).encode())
    reply = receive(control, 12)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return control, sender, ("127.0.0.1", int.from_bytes(reply[10:]))


COUNT = 32
"""Of associations: one worker has them all once in two thousand million times, for the system draws whose each is."""


def test_no_worker_sends_datagrams_to_anothers_associations(tmp_path: Path) -> None:
    with proxy(tmp_path, "--workers=2") as program:
        associations = [association(program) for _ in range(COUNT)]
        for _, sender, relay in associations:
            for _, _, target in associations:
                sender.sendto(Datagram(Address(*target), b"x").encode(), relay)
        poll(lambda: all(unread(relay) == 0 for *_, relay in associations), "all is read")
        for control, sender, _ in associations:
            control.close()
            sender.close()
        records = poll(lambda: len(program.records) == COUNT and program.records, "the records")
        assert {record["worker"] for record in records} == {1, 2}
        assert {(record["dropped"], record["bytes_up"]) for record in records} == {(COUNT, 0)}


def unread(address: tuple[str, int]) -> int:
    """Octets that wait in the UDP socket on an address (/proc/net/udp)."""
    port = f":{address[1]:04X}"
    lines = Path("/proc/net/udp").read_text().splitlines()
    return sum(int(line.split()[4].partition(":")[2], 16) for line in lines if port in line[:25])
