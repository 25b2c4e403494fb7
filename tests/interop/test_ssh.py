"""ssh, with nc or ncat to take it through the proxy, to an sshd of the test's own."""

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import StartProxy
from tests.interop.processes import poll, running, succeed
from tests.interop.programs import needs, require_program
from tests.interop.proxy import Proxy
from tests.interop.servers import free_port, is_served, payload

SIZE = 5_000_000
Through = Callable[[Proxy], str]
USER = pwd.getpwuid(os.getuid()).pw_name


CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {host_key}
AuthorizedKeysFile {key}.pub
AuthenticationMethods publickey
PidFile none
# The directory is whoever's:
StrictModes no
UsePAM no
"""


class SSHServer:
    """A running sshd that lets this user in with one key.

    :ivar log: what it says.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.key = directory / "user_key"
        self.log = directory / "log"
        self.configuration = directory / "sshd_config"
        self._known_hosts = directory / "known_hosts"
        host_key = directory / "host_key"
        for file in (self.key, host_key):
            succeed(require_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", file)
        public = host_key.with_suffix(".pub").read_text()
        self._known_hosts.write_text(f"[127.0.0.1]:{self.port},[localhost]:{self.port} {public}")
        lines = CONFIGURATION.format(port=self.port, host_key=host_key, key=self.key)
        self.configuration.write_text(lines)

    def command(self, through: str, host: str, command: str) -> list[str | Path]:
        """The ssh command line for a command, with a ``ProxyCommand``."""
        options = {
            "ProxyCommand": through,
            "UserKnownHostsFile": self._known_hosts,
            "GlobalKnownHostsFile": "none",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        line = [require_program("ssh"), "-F", "none", "-i", self.key, "-p", str(self.port)]
        for name, value in options.items():
            line += ["-o", f"{name}={value}"]
        return [*line, f"{USER}@{host}", command]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    """An sshd on 127.0.0.1."""
    program = require_program("sshd")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where its unprivileged part lives
    server = SSHServer(tmp_path_factory.mktemp("sshd"))
    with running(program, "-D", "-e", "-f", server.configuration, log=server.log) as process:
        poll(lambda: process.poll() is not None or is_served(server.port), "sshd answers")
        assert process.poll() is None, server.log.read_text()
        yield server


def _nc(proxy: Proxy) -> str:
    return f"{require_program('nc')} -X 5 -x {proxy.url} %h %p"


def _ncat(proxy: Proxy, *options: str) -> str:
    how = f"--proxy {proxy.url} --proxy-type socks5 {' '.join(options)}"
    return f"{require_program('ncat')} {how} %h %p"


@pytest.mark.parametrize(
    "through", [pytest.param(_nc, marks=needs("nc")), pytest.param(_ncat, marks=needs("ncat"))]
)
def test_a_command_and_a_pipe(proxy: Proxy, sshd: SSHServer, through: Through) -> None:
    line = sshd.command(through(proxy), "localhost", "echo $SSH_CLIENT; cat")
    head, _, answer = succeed(*line, stdin=payload(SIZE)).partition(b"\n")
    assert answer == payload(SIZE)
    client, port, _ = head.decode().split()
    session = proxy.session()
    assert (session.command, session.reply) == ("connect", 0)
    assert session.target.endswith(f":{sshd.port}")
    assert session.bound == f"{client}:{port}"
    assert session.bytes_up > SIZE
    assert session.bytes_down > SIZE


@needs("ncat")
def test_ncat_with_user_and_password(start_proxy: StartProxy, sshd: SSHServer) -> None:
    proxy = start_proxy("--auth", "memory:anna:secret")
    line = sshd.command(_ncat(proxy, "--proxy-auth", "anna:secret"), "127.0.0.1", "echo hello")
    assert succeed(*line) == b"hello\n"
    assert proxy.session().user == "anna"
