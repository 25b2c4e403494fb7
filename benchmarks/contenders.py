"""The proxies that can be measured, how each is started, and which of them are installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import Row

OURS = "txsocks5"

_DANTE = """\
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """A proxy.

    :param name: what it is called in tables and on the command line.
    :param words: its command line; ``{port}``, ``{config}`` and ``{folder}`` are filled in. It must stay
        in the foreground and listen on 127.0.0.1.
    :param program: the program it needs, or
    :param module: the Python module it needs, in the environment that this runs in.
    :param package: what carries its version: a Debian package or a distribution of PyPI.
    :param config: the text of its configuration file, in which ``{port}`` is filled in, and ``{beyond}``: the port of
        another proxy, behind it.
    :param cannot: loads that it does not serve.
    """

    name: str
    words: tuple[str, ...]
    program: str = ""
    module: str = ""
    package: str = ""
    config: str = ""
    cannot: frozenset[str] = frozenset()

    @property
    def is_installed(self) -> bool:
        """Whether it can be started here."""
        if self.program:
            return self._path is not None
        return importlib.util.find_spec(self.module) is not None

    @property
    def _path(self) -> str | None:
        return shutil.which(self.program) or shutil.which(self.program, path="/usr/sbin:/sbin")

    @property
    def version(self) -> str:
        """Its version, or a question mark."""
        if self.program:
            command = ["dpkg-query", "-W", "-f", "${Version}", self.package]
            return output_of(command) or "?"
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return "?"

    def takes_part_in(self, row: Row) -> bool:
        """Whether it serves the load of a row."""
        is_ours = self.name == OURS
        return (is_ours or not row.is_ours) and not self.cannot & {row.load, row.name}

    def command(self, port: int, folder: Path, beyond: int = 0) -> list[str]:
        """The command line for a port; writes the configuration file into *folder*.

        :param beyond: the port of the proxy behind it.
        """
        config = folder / f"{self.name}.conf"
        if self.config:
            config.write_text(self.config.format(port=port, beyond=beyond))
        words = [word.format(port=port, config=config, folder=folder) for word in self.words]
        if self.program:
            return [self._path or self.program, *words]
        return [sys.executable, "-m", self.module, *words]


def output_of(command: list[str]) -> str:
    """What a command prints, or nothing if it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


_UDP = frozenset({"datagrams"})

CONTENDERS = {
    each.name: each
    for each in (
        Contender(OURS, ("--interface", "127.0.0.1", "--port", "{port}"), "", "socks5", "txsocks5"),
        Contender(
            "microsocks",
            ("-i", "127.0.0.1", "-p", "{port}"),
            "microsocks",
            package="microsocks",
            cannot=_UDP,
        ),
        # About 300 KiB a session: 10,000 of them would drive a small machine into swapping.
        Contender(
            "dante",
            ("-f", "{config}"),
            "danted",
            package="dante-server",
            config=_DANTE,
            cannot=frozenset({"idle10k"}),
        ),
        Contender(
            "asyncio-socks-server",
            ("-H", "127.0.0.1", "-P", "{port}"),
            module="asyncio_socks_server",
            package="asyncio-socks-server",
        ),
        Contender(
            "pproxy",
            ("-l", "socks5://127.0.0.1:{port}"),
            module="pproxy",
            package="pproxy",
            cannot=_UDP,
        ),
    )
}
"""Every proxy by its name, ours first."""
