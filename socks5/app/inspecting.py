"""Commands that look at a file of settings and start nothing: ``check``, ``explain``, ``print-config``, ``schema``."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from zoneinfo import ZoneInfo

from twisted.internet.error import ReactorNotRunning
from twisted.python import usage
from twisted.python.failure import Failure

from socks5.app.assembly import this_reactor
from socks5.app.config.build import Made, build
from socks5.app.config.check import check as check_file
from socks5.app.config.document import Problem, Refused, load
from socks5.app.config.explain import Explanation, Question, Unanswerable
from socks5.app.config.options import hidden_in
from socks5.app.config.read import read
from socks5.app.config.schema import schema_text
from socks5.app.config.show import show
from socks5.app.config.values import Choice, IPAddress
from socks5.app.configured import sentences, sentences_of_options
from socks5.app.options import Options
from socks5.app.parser import Parser, Said
from socks5.app.rows import Group, OptionRow
from socks5.net.resolver import Resolver
from socks5.protocol.address import Address, unmap
from socks5.protocol.messages import Command
from socks5.settings import COMMAND_NAMES

Found = tuple[Sequence[str], str]
"""What a name leads to, and how that is known."""


def _file_of(said: Said) -> str:
    """The one word that a command wants."""
    if len(said.words) != 1:
        raise usage.UsageError(f"expected one FILE, got {len(said.words)} words")
    return said.words[0]


def _write(text: str) -> None:
    sys.stdout.write(text)


# ---------------------------------------------------------------- check

_CHECK = Parser(
    [
        Group(
            "Options",
            (
                OptionRow("json", "", "one object, with lists of errors and warnings"),
                OptionRow("strict", "", "status 1 for warnings, too"),
            ),
        )
    ],
    ["socks5 check [OPTIONS] FILE"],
    [
        "Looks whether the proxy could run with a file: all that is wrong, and what is",
        "legal but hardly meant. Opens no port and asks no server. Status 0, or 1 if",
        "something is wrong.",
    ],
)


def check(arguments: Sequence[str]) -> None:
    """``socks5 check``: say what is wrong with a file.

    :raises twisted.python.usage.UsageError: the arguments are wrong.
    :raises SystemExit: something is wrong with the file (status 1).
    """
    said = _CHECK.parse(arguments)
    options = {row.name for row, _ in said.options}
    errors, warnings = check_file(_file_of(said))
    if "json" in options:
        found = {"errors": [*map(_as_object, errors)], "warnings": [*map(_as_object, warnings)]}
        _write(f"{json.dumps(found, ensure_ascii=False)}\n")
    else:
        _write("".join(f"{line}\n" for line in _report(errors, warnings)))
    if errors or (warnings and "strict" in options):
        raise SystemExit(1)


def _as_object(problem: Problem) -> dict[str, Any]:
    place = problem.place
    return {
        "file": place.source,
        "line": place.line,
        "column": place.column,
        "key": problem.what,
        "text": problem.sentence,
    }


def _report(errors: Sequence[Problem], warnings: Sequence[Problem]) -> list[str]:
    lines = [*map(str, errors)]
    for each in warnings:
        lines.append(f"{each.place}: warning: {str(each).removeprefix(f'{each.place}: ')}")
    counts = [
        f"{len(found)} {word}{'' if len(found) == 1 else 's'}"
        for word, found in (("error", errors), ("warning", warnings))
        if found
    ]
    return [*lines, ", ".join(counts) or "nothing is wrong"]


# ---------------------------------------------------------------- print-config, schema

_PRINT = ["socks5 print-config FILE", "socks5 print-config [OPTIONS OF run]"]
_PRINT_ABOUT = [
    "Shows a file as the proxy understands it: what it says, and as comments what",
    "holds besides. With options in place of a file: the file that means the same.",
]


def print_config(arguments: Sequence[str]) -> None:
    """``socks5 print-config``: show a file, or the file that options mean.

    :raises twisted.python.usage.UsageError: the arguments are wrong.
    :raises SystemExit: something is wrong with the file (status 1), or with what options mean (2).
    """
    if arguments and not arguments[0].startswith("-"):
        _print_file(_file_of(Parser((), _PRINT, _PRINT_ABOUT).parse(arguments)))
        return
    options = Options("socks5 print-config", _PRINT, ["", *_PRINT_ABOUT])
    options.parseOptions(arguments)
    file = options["config"]
    if file is not None:
        _print_file(file)
        return
    tree = options.document.tree
    reason = hidden_in(tree)
    if reason is not None:
        raise usage.UsageError(reason)
    try:
        build(options.document, is_only_looking=True)
    except Refused as error:
        sys.stderr.write(sentences_of_options(error.problems, "socks5: print-config"))
        raise SystemExit(2) from None
    _write(show(tree, None))


def _print_file(file: str) -> None:
    try:
        document = load(file, is_once=True)
        read(document)
    except Refused as error:
        sys.stderr.write(sentences(error.problems, ""))
        raise SystemExit(1) from None
    _write(show(document.tree, lambda path: document.places.of(path, is_key=False)))


_SCHEMA = Parser(
    (), ["socks5 schema"], ["Prints the JSON Schema of the file of settings, for editors."]
)


def schema(arguments: Sequence[str]) -> None:
    """``socks5 schema``: print the JSON Schema.

    :raises twisted.python.usage.UsageError: the arguments are wrong.
    """
    if _SCHEMA.parse(arguments).words:
        raise usage.UsageError("expected no words")
    _write(schema_text())


# ---------------------------------------------------------------- explain


def _address(text: str) -> str:
    return IPAddress().read(text)


def _client(text: str) -> str:
    return "" if text == "unix" else unmap(_address(text))


def _target(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and int(port) <= 65535
    if not (colon and host and is_port):
        raise ValueError(
            f"expected HOST:PORT, such as example.com:443 or [2001:db8::1]:443, got {text!r}"
        )
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return Address(unmap(str(ip_address(bare))), int(port))
    except ValueError:
        return Address(host.encode(), int(port))


_COMMAND = Choice({name: command for command, name in COMMAND_NAMES.items()})


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected a time, such as 2026-11-27T10:05, got {text!r}") from None


_EXPLAIN = Parser(
    [
        Group(
            "Who asks for what",
            (
                OptionRow(
                    "client", "ADDRESS", "its address; unix: it comes by a UNIX socket", _client
                ),
                OptionRow("to", "HOST:PORT", "what it asks for", _target),
                OptionRow("user", "NAME", "who has logged in", unsaid="nobody"),
                OptionRow(
                    "groups",
                    "NAMES",
                    "the user's, beside those that files know",
                    lambda text: text.split(","),
                ),
                OptionRow("listener", "NAME", "where it has come in", unsaid="the only one"),
                OptionRow("method", "NAME", "how it has logged in", unsaid="none, or password"),
                OptionRow(
                    "command",
                    "NAME",
                    "such as bind, udp or resolve",
                    _COMMAND.read,
                    default="connect",
                ),
                OptionRow("at", "TIME", "when, such as 2026-11-27T10:05", _time, unsaid="now"),
                OptionRow(
                    "address",
                    "ADDRESS",
                    "what the name leads to",
                    _address,
                    unsaid="it is resolved",
                ),
            ),
        )
    ],
    ["socks5 explain FILE --client ADDRESS --to HOST:PORT [OPTIONS]"],
    [
        "Shows rule by rule whether a file lets a client do something. Status 0: it does,",
        "1: it does not, 2: something is wrong with the question or with the file.",
    ],
)


INTERRUPTED = 128 + signal.SIGINT
"""The exit status, as shells have it."""


def resolve(made: Made, name: bytes, client: str) -> Found:
    """What a name leads to, asked of those whom the proxy would ask.

    :raises SystemExit: it was interrupted before it knew.
    """
    reactor = this_reactor()
    resolver = Resolver(reactor, made.settings, made.capacity)
    results: list[Any] = []

    def done(result: Any) -> None:
        results.append(result)
        with suppress(ReactorNotRunning):  # Ctrl-C, in the same turn
            reactor.stop()

    reactor.callWhenRunning(lambda: resolver.resolve(name, client).addBoth(done))
    reactor.run()
    if not results:
        raise SystemExit(INTERRUPTED)
    [result] = results
    if isinstance(result, Failure):
        return (), result.getErrorMessage().rstrip(".")
    return result, "resolved now"


def explain(
    arguments: Sequence[str], resolve: Callable[[Made, bytes, str], Found] = resolve
) -> None:
    """``socks5 explain``: whether and why somebody may do something.

    :param resolve: tells what a name leads to.
    :raises twisted.python.usage.UsageError: the arguments are wrong, or do not fit the file.
    :raises SystemExit: it may not (status 1), or something is wrong with the file (status 2).
    """
    said = _EXPLAIN.parse(arguments)
    file = _file_of(said)
    values: dict[str, Any] = {}
    for row, text in said.options:
        try:
            values[row.name] = row.kind(text)
        except ValueError as error:
            raise usage.UsageError(f"--{row.name}: {error}") from None
    for name in ("client", "to"):
        if name not in values:
            raise usage.UsageError(f"expected --{name} as well")
    try:
        made = build(load(file, is_once=True), is_only_looking=True)
    except Refused as error:
        sys.stderr.write(sentences(error.problems, ""))
        raise SystemExit(2) from None
    question = Question(
        client=values["client"],
        target=values["to"],
        user=values.get("user"),
        groups=values.get("groups", ()),
        listener=values.get("listener", ""),
        method=values.get("method", ""),
        command=values.get("command", Command.CONNECT),
        at=_seconds(made, values.get("at")),
    )
    try:
        explanation = Explanation(made, question)
    except Unanswerable as error:
        raise usage.UsageError(str(error)) from None
    found: Found = ((), "")
    if explanation.is_open:
        host = question.target.host
        assert isinstance(host, bytes)
        said_so = [values["address"]] if "address" in values else []
        found = (said_so, "as you say") if said_so else resolve(made, host, question.client)
    answer = explanation.answer(*found)
    _write("".join(f"{line}\n" for line in answer.lines))
    if not answer.is_allowed:
        raise SystemExit(1)


def _seconds(made: Made, at: datetime | None) -> float:
    """A time, since 1970.

    :raises twisted.python.usage.UsageError: nobody knows whose clock it is of.
    """
    if at is None:
        return time.time()
    zone = made.configuration.server.zone
    if at.tzinfo is None and zone is None:
        raise usage.UsageError(
            f"--at: expected an offset as well, such as {at.isoformat()}+01:00, for the file has no zone"
        )
    return (at if at.tzinfo is not None else at.replace(tzinfo=ZoneInfo(str(zone)))).timestamp()
