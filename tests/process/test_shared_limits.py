"""Limits that workers share: what gets in, what is used, and what a worker gives back that dies."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.process.program import (
    CONNECT,
    MODULE,
    PATIENCE,
    Program,
    client_of,
    echoes,
    is_ended,
    poll,
    reply,
    request,
    running,
)
from tests.process.test_workers import at, children

FILE = """\
server = { workers = WORKERS, limits = "all", zone = "UTC", state = "state.sqlite3" }
log.access = "access.log"
listener.here = { address = "127.0.0.1", port = 0 }
limit.all = { LIMIT }
"""

REFUSED = 12
"""So many refusals in a row: each worker has said one, or all but always."""


def file(limit: str, workers: int = 2) -> str:
    return FILE.replace("LIMIT", limit).replace("WORKERS", str(workers))


@contextmanager
def proxy(folder: Path, limit: str, workers: int = 2) -> Iterator[Program]:
    (folder / "s.toml").write_text(file(limit, workers))
    with running(folder, [*MODULE, "--config", "s.toml"]) as program:
        program.wait_until_it_listens()
        yield program


def asked(program: Program, echo: tuple[str, int]) -> socket.socket | None:
    """A client; None if it is refused."""
    client = client_of(at(program))
    request(client, CONNECT, *echo)
    code, _ = reply(client)
    if code == 0:
        return client
    assert code == 2
    client.close()
    return None


def is_full(program: Program, echo: tuple[str, int]) -> bool:
    """Whether nobody gets in, through whichever worker."""
    for _ in range(REFUSED):
        client = asked(program, echo)
        if client is not None:
            client.close()
            return False
    return True


def test_sessions_are_counted_over_all_workers_and_those_of_one_that_is_killed_are_not(
    tmp_path: Path, echo: tuple[str, int]
) -> None:
    with proxy(tmp_path, "sessions = 3", workers=4) as program, ExitStack() as stack:

        def come() -> socket.socket:
            client: socket.socket = poll(lambda: asked(program, echo), "there is room")
            return stack.enter_context(client)

        clients = [come() for _ in range(3)]
        poll(lambda: is_full(program, echo), "all know that there are three")
        victims = children(program)
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        poll(lambda: len({*children(program)} - {*victims}) == 4, "all have successors")
        poll(lambda: all(map(is_ended, clients)), "each of them was some worker's")
        clients = [come() for _ in range(3)]
        poll(lambda: is_full(program, echo), "all know that there are three again")
        assert all(map(echoes, clients))
        program.terminate()


def reload(program: Program, limit: str) -> None:
    before = program.output.count("is reloaded")
    (program.directory / "s.toml").write_text(file(limit))
    program.signal(signal.SIGHUP)
    poll(lambda: program.output.count("is reloaded") > before, "it is reloaded")


def test_a_reload_keeps_what_all_workers_have_counted(
    tmp_path: Path, echo: tuple[str, int]
) -> None:
    with proxy(tmp_path, "sessions = 3") as program, ExitStack() as stack:
        for _ in range(3):
            client = poll(lambda: asked(program, echo), "there is room")
            stack.enter_context(client)
        poll(lambda: is_full(program, echo), "all know that there are three")
        reload(program, "client_addresses = 1")
        reload(program, "sessions = 4")
        stack.enter_context(poll(lambda: asked(program, echo), "there is room for one more"))
        poll(lambda: is_full(program, echo), "all know that there are four")
        program.terminate()


def quota(folder: Path) -> str:
    done = subprocess.run(
        [*MODULE, "quota", "s.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout


def test_a_quota_is_used_up_by_all_workers_together(tmp_path: Path, echo: tuple[str, int]) -> None:
    with proxy(tmp_path, 'quota = "8KiB/month"') as program:
        used = 0
        while client := asked(program, echo):
            with client:
                client.sendall(bytes(256))
                while octets := client.recv(4096):
                    used += len(octets)
                    if used % 256 == 0:
                        break
        assert used >= 4096 - 256
        poll(lambda: is_full(program, echo), "all know that it is used up")
        program.terminate()
        moved = sum(each["bytes_up"] + each["bytes_down"] for each in program.records)
        assert moved >= 8192
        shown = quota(tmp_path)
        assert f" {round(moved / 1024, 1):g}KiB " in shown, (moved, shown)
    (tmp_path / "output").unlink()
    with proxy(tmp_path, 'quota = "8KiB/month"') as program:
        assert is_full(program, echo)
        program.terminate()


def test_a_file_that_cannot_be_opened_refuses_the_start_of_all(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite3").write_text("no database" * 1000)
    (tmp_path / "s.toml").write_text(file('quota = "1KiB/month"'))
    with running(tmp_path, [*MODULE, "--config", "s.toml"]) as program:
        assert program.wait() == 1
        [line] = [each for each in program.messages if "does not start" in each]
        assert line.endswith("state.sqlite3 (file is not a database)")
        assert "worker" not in program.output
