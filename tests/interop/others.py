"""Proxies that nobody here wrote, as processes on the loopback. None of them gets out of this machine: what it is asked
for is here, and a name that is nowhere is one that no system asks anybody for.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from socks5.client import Proxy
from tests.interop.dante import running_dante
from tests.interop.processes import listening
from tests.interop.programs import require_program
from tests.interop.servers import free_port

NOWHERE = "nowhere"
"""A name that cannot be resolved."""

USER, PASSWORD = "alice", "secret"


def _env(directory: Path) -> dict[str, str]:
    """What has the C library take :data:`NOWHERE` for a name that it cannot even ask for."""
    aliases = directory / "aliases"
    aliases.write_text(f"{NOWHERE} {'a' * 64}\n")
    return {"HOSTALIASES": str(aliases)}


def dante(directory: Path) -> AbstractContextManager[int]:
    return running_dante(directory, _env(directory))


@contextmanager
def microsocks(directory: Path) -> Iterator[int]:
    port = free_port()
    command = [require_program("microsocks"), "-i", "127.0.0.1", "-p", str(port)]
    command += ["-u", USER, "-P", PASSWORD]
    with listening(*command, port=port, log=directory / "log", env=_env(directory)):
        yield port


Start = Callable[[Path], AbstractContextManager[int]]
"""Starts a program that may write in a directory; gives the port that it listens on."""


class Other(NamedTuple):
    """One that runs.

    :ivar has_login: whether it wants the login.
    """

    port: int
    scheme: str
    has_login: bool

    def proxy(self, password: str = PASSWORD) -> Proxy:
        """Ours, as its client."""
        from twisted.internet import reactor

        login = f"{USER}:{password}@" if self.has_login else ""
        return Proxy.from_url(reactor, f"{self.scheme}://{login}127.0.0.1:{self.port}", timeout=10)

    def upstream(self, password: str = PASSWORD, name: str = "up", **keys: object) -> str:
        """The table of a file that makes it an upstream."""
        keys["url"] = f"{self.scheme}://127.0.0.1:{self.port}"
        if self.has_login:
            keys.update(user=USER, password=password)
        return "\n".join(
            [f"[upstream.{name}]", *(f"{key} = {json.dumps(keys[key])}" for key in keys), ""]
        )
