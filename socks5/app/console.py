"""The program ``socks5``, which is ``python -m socks5`` as well: its commands.

``run``, or no command at all, is the service of ``twistd -n socks5`` without twistd: it takes the same options, logs
to the standard output, and shows an import error as what it is, where ``twistd`` would only say "Unknown command".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python import usage

from socks5.app import passwd
from socks5.app.assembly import makeService, this_reactor
from socks5.app.handover import refuse
from socks5.app.inherit import VARIABLE
from socks5.app.options import Options
from socks5.app.parser import nearest
from socks5.app.service import refusal_of
from socks5.app.signals import hold


class Command(NamedTuple):
    """One of them.

    :param run: does it, with the arguments behind its word.
    :param arguments: what it takes, for the help.
    :param text: what it does, in a few words.
    """

    run: Callable[[Sequence[str]], None]
    arguments: str
    text: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says.

    :param arguments: default: those of this process.
    :raises SystemExit: something is wrong with them (status 2), or the command has failed (status 1).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words.pop(0) if words and not words[0].startswith("-") else "run"
    command = COMMANDS.get(name)
    if command is None:
        advice = nearest(name, COMMANDS) or f"; expected one of {', '.join(COMMANDS)}, or options"
        raise _exit(f"{name}: there is no such command{advice}", 2)
    try:
        try:
            command.run(words)
        finally:
            print(end="", flush=True)  # noqa: T201
    except usage.UsageError as error:
        whose = "" if name == "run" else f"{name}: "
        raise _exit(f"{whose}{error}", 2) from None
    except BrokenPipeError:  # as of ``socks5 --help | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _exit(sentence: str, status: int) -> SystemExit:
    sys.stderr.write(f"socks5: {sentence}\n")
    return SystemExit(status)


def run(arguments: Sequence[str]) -> None:
    """Run the proxy until SIGTERM or SIGINT.

    :raises twisted.python.usage.UsageError: the options are wrong.
    :raises SystemExit: the service does not start (status 1).
    """
    hold()
    options = Options("socks5", ["socks5 [run] [OPTIONS]", "socks5 COMMAND ..."], _commands())
    try:
        options.parseOptions(arguments)
    except usage.UsageError as error:
        refuse(options.left, str(error))
        raise
    reactor = this_reactor()
    # A parent puts the time before what its workers say.
    time_format = "" if VARIABLE in os.environ else "%Y-%m-%dT%H:%M:%S%z"
    observer = textFileLogObserver(sys.stdout, time_format)
    service = makeService(options, reactor, hands_over=True)
    globalLogBeginner.beginLoggingTo([observer])
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    if refusal_of(service) is not None:
        raise SystemExit(1)


def _later(module: str, name: str) -> Callable[[Sequence[str]], None]:
    """A command whose module the proxy itself does not load."""

    def command(arguments: Sequence[str]) -> None:
        getattr(import_module(f"socks5.app.{module}"), name)(arguments)

    return command


def _commands() -> list[str]:
    """The commands, in lines of the help."""
    rows = [(f"{name} {each.arguments}", each.text) for name, each in COMMANDS.items()]
    return ["", "Commands:", *(f"  {left:<30} {text}" for left, text in rows)]


COMMANDS = {
    "run": Command(run, "[OPTIONS]", "the proxy; meant where there is no command"),
    "check": Command(_later("inspecting", "check"), "FILE", "look for what is wrong with a file"),
    "explain": Command(
        _later("inspecting", "explain"), "FILE ...", "why somebody may do something, or not"
    ),
    "print-config": Command(
        _later("inspecting", "print_config"), "[FILE or OPTIONS]", "the file as it is understood"
    ),
    "schema": Command(
        _later("inspecting", "schema"), "", "the JSON Schema of the file, for editors"
    ),
    "quota": Command(
        _later("quota", "main"), "FILE [OPTIONS]", "what is used of quotas; or back to 0"
    ),
    "passwd": Command(passwd.main, "FILE NAME", "an entry of a file for --auth htpasswd:FILE"),
}
"""By their words."""
