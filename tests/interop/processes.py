"""Programs as processes: started with a clean environment, never waited for without an end."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.servers import is_served
from tests.process.program import poll

__all__ = ["environment", "kill", "listening", "poll", "run", "running", "succeed"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment in plain English, and without anybody's proxies."""
    inherited = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return {**inherited, "LC_ALL": "C.UTF-8", **(extra or {})}


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End a process and what it has started: all of them are one group, which bears its number for
    as long as nobody has asked for its status.
    """
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(
    *command: str | Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    seconds: float = 30.0,
) -> "subprocess.CompletedProcess[bytes]":
    """Run a program to its end and return what it said; fail if it does not end in time."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(env),
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(stdin, seconds)
        except subprocess.TimeoutExpired:
            kill(process)
            output, errors = process.communicate()
            pytest.fail(f"{command[0]} did not end within {seconds:g} s: {output!r} {errors!r}")
        finally:
            kill(process)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def succeed(
    *command: str | Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    seconds: float = 30.0,
) -> bytes:
    """Run a program, which must say that it succeeded, and return its output."""
    done = run(*command, stdin=stdin, env=env, seconds=seconds)
    assert done.returncode == 0, f"{command[0]}: status {done.returncode}, {done.stderr!r}"
    return done.stdout


@contextmanager
def running(
    *command: str | Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    inherited: Sequence[int] = (),
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program in the background, both of its outputs in a file; ended with the block.

    :param inherited: descriptors that it has under the same numbers.
    """
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(env),
            pass_fds=inherited,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            kill(process)


@contextmanager
def listening(
    *command: str | Path, port: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """The same, once it listens on a port of 127.0.0.1, as it must."""
    with running(*command, log=log, env=env) as process:
        poll(lambda: process.poll() is not None or is_served(port), f"{command[0]} listens")
        assert process.poll() is None, log.read_text()
        yield process
