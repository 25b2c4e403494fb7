"""Proxies that nobody here wrote, as processes on the loopback. None of them gets out of this machine: what it is asked
for is here, and a name that is nowhere is one that no system asks anybody for.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from socks5.client import Proxy
from tests.interop.dante import running_dante
from tests.interop.processes import listening
from tests.interop.programs import require_program
from tests.interop.sshd import running_sshd
from tests.support.ports import free_port

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


@contextmanager
def ssh(directory: Path) -> Iterator[int]:
    """``ssh -D``, and the sshd that connects for it."""
    port = free_port()
    with (
        running_sshd(directory) as line,
        listening(
            *line("127.0.0.1", DynamicForward=f"127.0.0.1:{port}", SessionType="none"),
            port=port,
            log=directory / "client.log",
        ),
    ):
        yield port


@contextmanager
def v2ray(directory: Path) -> Iterator[int]:
    port, configuration = free_port(), directory / "v2ray.json"
    inbound = {
        "listen": "127.0.0.1",
        "port": port,
        "protocol": "socks",
        "settings": {"udp": True, "ip": "127.0.0.1"},
    }
    configuration.write_text(
        json.dumps({"inbounds": [inbound], "outbounds": [{"protocol": "freedom"}]})
    )
    command = (require_program("v2ray"), "-config", configuration)
    with listening(*command, port=port, log=directory / "log"):
        yield port


@contextmanager
def shadowsocks(directory: Path) -> Iterator[int]:
    """Its client, which is the proxy, and its server."""
    near, far = free_port(), free_port()
    common = ["-s", "127.0.0.1", "-p", str(far), "-k", PASSWORD, "-m", "aes-128-gcm", "-u"]
    server = [require_program("ss-server"), *common, "-d", "127.0.0.1"]
    client = [require_program("ss-local"), *common, "-b", "127.0.0.1", "-l", str(near)]
    with (
        listening(*server, port=far, log=directory / "server.log"),
        listening(*client, port=near, log=directory / "log"),
    ):
        yield near


@contextmanager
def tinyproxy(directory: Path) -> Iterator[int]:
    port, configuration = free_port(), directory / "tinyproxy.conf"
    lines = ["Listen 127.0.0.1", f"Port {port}", f"BasicAuth {USER} {PASSWORD}"]
    configuration.write_text("\n".join([*lines, ""]))
    command = (require_program("tinyproxy"), "-d", "-c", configuration)
    with listening(*command, port=port, log=directory / "log", env=_env(directory)):
        yield port


SQUID = """\
http_port 127.0.0.1:{port}
visible_hostname localhost
pid_filename none
access_log none
cache_log /dev/null
cache deny all
coredump_dir none
netdb_filename none
pinger_enable off
# It asks on its own, and at another port than this no server can be named:
dns_nameservers 127.0.0.1
dns_timeout 100 milliseconds
dns_retransmit_interval 50 milliseconds
cache_effective_user proxy
auth_param basic program {sed} -u -e s/^{user}.{password}$/OK/ -e t -e s/.*/ERR/
auth_param basic children 1
acl users proxy_auth REQUIRED
http_access allow users
http_access deny all
"""


@contextmanager
def squid(directory: Path) -> Iterator[int]:
    port, configuration = free_port(), directory / "squid.conf"
    login = {"sed": require_program("sed"), "user": USER, "password": PASSWORD}
    configuration.write_text(SQUID.format(port=port, **login))
    name = f"test{port}"  # of its shared memory, too, which it leaves
    command = (require_program("squid"), "-N", "-n", name, "-f", configuration)
    try:
        with listening(*command, port=port, log=directory / "log"):
            yield port
    finally:
        for file in Path("/dev/shm").glob(f"{name}-*"):
            file.unlink()


@contextmanager
def pproxy(directory: Path) -> Iterator[int]:
    """Both kinds of proxy on one port. It looks at every login, not at the first one from an address."""
    port = free_port()
    listens = f"http+socks5://127.0.0.1:{port}#{USER}:{PASSWORD}"
    command = (sys.executable, "-m", "pproxy", "-l", listens, "--auth", "0")
    with listening(*command, port=port, log=directory / "log", env=_env(directory)):
        yield port


@contextmanager
def asyncio_socks(directory: Path) -> Iterator[int]:
    port, configuration = free_port(), directory / "asyncio_socks.json"
    keys = {"LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": port, "AUTH_METHOD": 2}
    configuration.write_text(json.dumps({**keys, "USERS": {USER: PASSWORD}}))
    command = (sys.executable, "-m", "asyncio_socks_server", "--config", configuration)
    with listening(*command, port=port, log=directory / "log", env=_env(directory)):
        yield port


Start = Callable[[Path], AbstractContextManager[int]]
"""Starts a program that may write in a directory; gives the port that it listens on."""


class Other(NamedTuple):
    """One that runs.

    :ivar has_login: whether it wants the login.
    """

    port: int
    scheme: str = "socks5"
    has_login: bool = False

    def proxy(self, password: str = PASSWORD, timeout: float = 10, **options: bool) -> Proxy:
        """Ours, as its client."""
        from twisted.internet import reactor

        login = f"{USER}:{password}@" if self.has_login else ""
        url = f"{self.scheme}://{login}127.0.0.1:{self.port}"
        return Proxy.from_url(reactor, url, timeout=timeout, **options)

    def upstream(self, password: str = PASSWORD, name: str = "up", **keys: object) -> str:
        """The table of a file that makes it an upstream."""
        keys["url"] = f"{self.scheme}://127.0.0.1:{self.port}"
        if self.has_login:
            keys.update(user=USER, password=password)
        return "\n".join(
            [f"[upstream.{name}]", *(f"{key} = {json.dumps(keys[key])}" for key in keys), ""]
        )
