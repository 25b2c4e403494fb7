"""An agent's connections, in memory: through which proxy, and which of them are used again."""

import subprocess
import sys
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgent
from zope.interface.verify import verifyObject

from socks5.client import Proxy
from tests.support.deferreds import outcome_of, told
from tests.support.reactor import FakeReactor
from tests.support.through import METHOD, OK
from tests.support.transports import FakeTransport

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using readBody:DeprecationWarning"
)  # Twisted's own agents do

PROXY = "socks5://192.0.2.9"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Browser:
    """Programs on one reactor, with one pool."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.pool = HTTPConnectionPool(self.reactor)
        self._transports: list[FakeTransport] = []

    def agent(self, url: str = PROXY, **options: Any) -> IAgent:
        return Proxy.from_url(self.reactor, url, **options).agent(self.pool)

    def get(self, agent: IAgent, url: bytes = b"http://www.example.org/") -> bool:
        """Have an agent get something.

        :returns: whether it needed another connection for that.
        """
        before = len(self.reactor.connectors)
        body = told(agent.request(b"GET", url).addCallback(readBody))
        is_new = len(self.reactor.connectors) > before
        if is_new:
            self._transports.append(self.reactor.connectors[-1].succeed())
        while not body:
            self.reactor.turn()
            for transport in self._transports:
                said = transport.value()
                transport.clear()
                transport.deliver(answer_to(said))
        assert body == [b"hi"]
        return is_new


def answer_to(said: bytes) -> bytes:
    """What a proxy says, and behind it the server."""
    if said.startswith(b"GET "):
        return ANSWER
    if said.startswith(b"\5\1\0\3"):
        return OK
    return METHOD if said else b""


def test_a_connection_is_used_again_by_the_same_way_alone() -> None:
    browser = Browser()
    urls = (
        PROXY,
        "socks5://192.0.2.10",
        "socks5://alice:secret@192.0.2.9",
        "socks5://alice:other@192.0.2.9",
        "socks5://bob:secret@192.0.2.9",
    )
    agents = [browser.agent(url) for url in urls]
    assert [browser.get(agent) for agent in agents] == [True] * 5
    assert [browser.get(agent) for agent in agents] == [False] * 5
    assert not browser.get(browser.agent(PROXY, timeout=3.0))
    assert browser.get(browser.agent(PROXY, rdns=True, bind_address="192.0.2.1"))
    assert browser.get(agents[0], b"http://www.example.com/")


def test_an_agent_without_a_proxy_has_none_of_them() -> None:
    browser = Browser()
    through, direct = browser.agent(), Agent(browser.reactor, pool=browser.pool)
    for agent in (through, direct):
        assert browser.get(agent)
    for agent in (through, direct):
        assert not browser.get(agent)


def test_no_proxy_is_heeded() -> None:
    browser = Browser()
    environ = {"all_proxy": PROXY, "no_proxy": "192.0.2.0/24"}
    proxy = Proxy.from_environment(browser.reactor, environ)
    assert proxy is not None
    agent = proxy.agent(browser.pool)
    told(agent.request(b"GET", b"http://192.0.2.80:8000/"))
    connector = browser.reactor.connectors[-1]
    assert (connector.host, connector.port) == ("192.0.2.80", 8000)


def test_without_a_pool_nothing_is_kept() -> None:
    browser = Browser()
    agent = Proxy.from_url(browser.reactor, PROXY).agent()
    assert verifyObject(IAgent, agent)
    assert browser.get(agent)
    assert browser.get(agent)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        (
            b"http://[2001:db8::1]:8080/",
            b"\4" + bytes.fromhex("20010db8") + bytes(11) + b"\1\x1f\x90",
        ),
        (b"http://_dmarc.example/", b"\3\x0e_dmarc.example\0\x50"),
        (b"https://192.0.2.1/", b"\1\xc0\0\2\1\1\xbb"),
    ],
)
def test_what_the_proxy_is_asked_for(url: bytes, asked: bytes) -> None:
    browser = Browser()
    told(browser.agent().request(b"GET", url))
    transport = browser.reactor.connectors[-1].succeed()
    browser.reactor.turn()
    transport.clear()
    transport.deliver(METHOD)
    browser.reactor.turn()
    assert transport.value() == b"\5\1\0" + asked


def test_what_is_no_web_is_an_error() -> None:
    agent = Browser().agent()
    request: Deferred[Any] = agent.request(b"GET", b"ftp://www.example.org/")
    assert outcome_of(request).check(SchemeNotSupported)
    with pytest.raises(ValueError, match="port 0"):
        agent.request(b"GET", b"http://www.example.org:0/")
    with pytest.raises(ValueError, match="a zone means nothing to a proxy"):
        agent.request(b"GET", b"http://[fe80::1%25eth0]/")


def test_no_repr_has_a_login() -> None:
    """Twisted logs that of an endpoint."""
    browser = Browser()
    texts: list[str] = []
    real = browser.pool.getConnection

    def get_connection(key: Any, endpoint: Any) -> Any:
        texts.extend((repr(key), repr(endpoint)))
        return real(key, endpoint)

    browser.pool.getConnection = get_connection  # type: ignore[method-assign]
    browser.get(browser.agent("socks5://alice:secret@192.0.2.9"))
    assert len(texts) == 2
    for text in texts:
        assert "192.0.2.9" in text
        assert "alice" not in text
        assert "secret" not in text


def test_who_makes_no_agent_does_without_twisted_web() -> None:
    """Nor anything else that is optional, nor a reactor."""
    script = "import sys, socks5.client; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    for name in ("twisted.web.client", "twisted.internet.reactor", "scrapy", "gssapi"):
        assert name not in found.stdout.split()
