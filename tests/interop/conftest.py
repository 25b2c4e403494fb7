"""A proxy for every test, and the servers that tests reach through it."""

import os
import pwd
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from functools import cache
from pathlib import Path

import pytest
import pytest_twisted
from twisted.names import dns

from tests.interop import front as fronts
from tests.interop.others import Start
from tests.interop.processes import poll, run, running
from tests.interop.programs import require_program
from tests.interop.proxy import Proxy, Since, has_ipv6, running_proxy
from tests.interop.servers import Echo, Web, serving
from tests.sockets import clients
from tests.support.ports import free_port

StartProxy = Callable[..., Proxy]
Front = Callable[[str], Awaitable[clients.Proxy]]
Others = Callable[[Start], int]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """See :data:`~tests.interop.programs.needs`."""
    for mark in item.iter_markers("needs"):
        require_program(*mark.args)


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[StartProxy]:
    """Starts a proxy with the options it is called with."""
    with ExitStack() as proxies:
        yield lambda *options, **how: proxies.enter_context(
            running_proxy(tmp_path, *options, **how)
        )


@pytest.fixture(scope="session")
def shared_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy as started without options, for all tests that take it as it is."""
    with running_proxy(tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: Proxy) -> Proxy:
    """The same, with the sessions of this test."""
    return Since(shared_proxy)


@pytest_twisted.async_yield_fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """Starts our server in this process, with the upstreams that it is told; see :mod:`tests.interop.front`."""
    async with AsyncExitStack() as stack:

        async def start(upstreams: str) -> clients.Proxy:
            return await stack.enter_async_context(fronts.serving(tmp_path, upstreams))

        yield start


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Others]:
    """Starts a proxy of somebody else's, the first time that it is asked for; gives its port."""
    with ExitStack() as stack:

        @cache
        def port(start: Start) -> int:
            return stack.enter_context(start(tmp_path_factory.mktemp("other")))

        yield port


@pytest.fixture
def curl() -> tuple[str, ...]:
    """curl without anybody's configuration, silent unless something fails."""
    return (require_program("curl"), "-q", "-sS", "--max-time", "20")


def page(proxy: Proxy, web: Web, user: str) -> tuple[int, bytes]:
    """What curl ends with if it logs in as *user* (NAME:PASSWORD), and what it shows."""
    curl = (require_program("curl"), "-q", "-sS", "--max-time", "20")
    how = ("--socks5-hostname", proxy.url, "--proxy-user", user)
    done = run(*curl, *how, f"http://{web.address}/")
    return done.returncode, done.stdout


@pytest.fixture
def ipv6() -> None:
    """For tests that need an IPv6 loopback."""
    if not has_ipv6():
        pytest.skip("this machine has no ::1")


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server on 127.0.0.1."""
    with Web() as server, serving(server):
        yield server


@pytest.fixture
def web6(ipv6: None) -> Iterator[Web]:
    """A web server on ::1."""
    with Web("::1") as server, serving(server):
        yield server


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A UDP server on 127.0.0.1 that sends everything back."""
    with Echo() as server, serving(server):
        yield server


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A TCP port of 127.0.0.1 that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


class NameServer:
    """A running dnsmasq that knows ``a.test`` and the hosts below."""

    address = "192.0.2.55"
    many = tuple(f"192.0.2.{number}" for number in range(1, 61))
    both = ("192.0.2.8", "2001:db8::8")
    hosts = (
        "local=/test/",
        "domain-needed",
        "host-record=host.sub.test,192.0.2.7",
        f"host-record=both.test,{','.join(both)}",
        "cname=alias.test,both.test",
        *(f"host-record=many.test,{host}" for host in many),
    )

    def __init__(self, port: int) -> None:
        self.port = port

    @staticmethod
    def query(name: str = "a.test") -> bytes:
        message = dns.Message(id=0x7E57)
        message.addQuery(name, dns.A)
        return message.toStr()

    @staticmethod
    def answer(data: bytes) -> list[str]:
        """The IPv4 addresses in an answer to :meth:`query`."""
        message = dns.Message()
        message.fromStr(data)
        assert message.id == 0x7E57
        return [record.payload.dottedQuad() for record in message.answers]

    def is_ready(self) -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            asking.connect(("127.0.0.1", self.port))
            try:
                asking.send(self.query())
                return self.answer(asking.recv(512)) == [self.address]
            except OSError:
                return False


@pytest.fixture(scope="module")
def name_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """A dnsmasq on 127.0.0.1 and, where there is one, ::1."""
    program = require_program("dnsmasq")
    directory = tmp_path_factory.mktemp("dnsmasq")
    configuration = directory / "dnsmasq.conf"
    server = NameServer(free_port())
    lines = [
        "keep-in-foreground",
        "log-facility=-",
        "pid-file=",
        f"user={pwd.getpwuid(os.getuid()).pw_name}",
        f"port={server.port}",
        "bind-interfaces",
        "listen-address=127.0.0.1",
        *(["listen-address=::1"] if has_ipv6() else []),
        "no-resolv",
        "no-hosts",
        "edns-packet-max=4096",
        f"address=/a.test/{server.address}",
        *server.hosts,
    ]
    configuration.write_text("".join(f"{line}\n" for line in lines))
    with running(program, "-C", configuration, log=directory / "log") as process:
        poll(lambda: process.poll() is not None or server.is_ready(), "dnsmasq answers")
        assert process.poll() is None, (directory / "log").read_text()
        yield server
