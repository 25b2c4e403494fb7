"""ssh, with nc or ncat to take it through the proxy, to an sshd of the test's own."""

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import StartProxy
from tests.interop.processes import listening, succeed
from tests.interop.programs import needs, require_program
from tests.interop.proxy import Proxy
from tests.interop.servers import free_port, payload

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


Command = Callable[[str, str, str], list[str | Path]]


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The ssh command line, with a ``ProxyCommand``, for a command on a host; with an sshd on 127.0.0.1 that lets this
    user in with one key.
    """
    program, directory, port = require_program("sshd"), tmp_path_factory.mktemp("sshd"), free_port()
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where its unprivileged part lives
    key, host_key, log = directory / "user_key", directory / "host_key", directory / "log"
    for file in (key, host_key):
        succeed(require_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", file)
    known_hosts, configuration = directory / "known_hosts", directory / "sshd_config"
    public = host_key.with_suffix(".pub").read_text()
    known_hosts.write_text(f"[127.0.0.1]:{port},[localhost]:{port} {public}")
    configuration.write_text(CONFIGURATION.format(port=port, host_key=host_key, key=key))

    def command(through: str, host: str, words: str) -> list[str | Path]:
        options = {
            "ProxyCommand": through,
            "UserKnownHostsFile": known_hosts,
            "GlobalKnownHostsFile": "none",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        line = [require_program("ssh"), "-F", "none", "-i", key, "-p", str(port)]
        for name, value in options.items():
            line += ["-o", f"{name}={value}"]
        return [*line, f"{USER}@{host}", words]

    with listening(program, "-D", "-e", "-f", configuration, port=port, log=log):
        yield command


def _nc(proxy: Proxy) -> str:
    return f"{require_program('nc')} -X 5 -x {proxy.url} %h %p"


def _ncat(proxy: Proxy, *options: str) -> str:
    how = f"--proxy {proxy.url} --proxy-type socks5 {' '.join(options)}"
    return f"{require_program('ncat')} {how} %h %p"


@pytest.mark.parametrize(
    "through", [pytest.param(_nc, marks=needs("nc")), pytest.param(_ncat, marks=needs("ncat"))]
)
def test_a_command_and_a_pipe(proxy: Proxy, ssh: Command, through: Through) -> None:
    line = ssh(through(proxy), "localhost", "echo $SSH_CLIENT; cat")
    head, _, answer = succeed(*line, stdin=payload(SIZE)).partition(b"\n")
    assert answer == payload(SIZE)
    client, port, _ = head.decode().split()
    session = proxy.session()
    assert (session.command, session.reply) == ("connect", 0)
    assert session.target.endswith(f":{line[line.index('-p') + 1]}")
    assert session.bound == f"{client}:{port}"
    assert session.bytes_up > SIZE
    assert session.bytes_down > SIZE


@needs("ncat")
def test_ncat_with_user_and_password(start_proxy: StartProxy, ssh: Command) -> None:
    proxy = start_proxy("--auth", "memory:anna:secret")
    line = ssh(_ncat(proxy, "--proxy-auth", "anna:secret"), "127.0.0.1", "echo hello")
    assert succeed(*line) == b"hello\n"
    assert proxy.session().user == "anna"
