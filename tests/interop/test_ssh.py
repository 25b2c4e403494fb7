"""ssh, with nc or ncat to take it through the proxy, to an sshd of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import StartProxy
from tests.interop.processes import succeed
from tests.interop.programs import needs, require_program
from tests.interop.proxy import Proxy
from tests.interop.servers import payload
from tests.interop.sshd import running_sshd

SIZE = 5_000_000
Through = Callable[[Proxy], str]

Command = Callable[[str, str, str], list[str | Path]]


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The ssh command line, with a ``ProxyCommand``, for a command on a host."""
    with running_sshd(tmp_path_factory.mktemp("sshd")) as line:
        yield lambda through, host, words: [*line(host, ProxyCommand=through), words]


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
