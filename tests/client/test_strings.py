"""``socks5:…`` as ``clientFromString`` takes it."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import clientFromString, quoteStringArgument
from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor
from twisted.plugins import socks5_plugin
from zope.interface.verify import verifyObject

from socks5.client import ProxyTimeout
from tests.support.deferreds import told
from tests.support.reactor import FakeReactor
from tests.support.through import LOGIN, METHOD, OK, Program


class Connected:
    """What comes of a string."""

    def __init__(self, text: str) -> None:
        self.reactor = FakeReactor()
        self.program = Program()
        endpoint: Any = clientFromString(self.reactor, text)
        self.shown = repr(endpoint)
        self.outcome = told(endpoint.connect(self.program))

    def hear(self, *proxy: bytes) -> bytes:
        """What the last proxy is told that says so."""
        transport: Any = self.reactor.connectors[-1].succeed()
        for data in proxy:
            transport.deliver(data)
            self.reactor.turn()
        return transport.value()  # type: ignore[no-any-return]


def test_the_plugin_is_one() -> None:
    assert verifyObject(IStreamClientEndpointStringParserWithReactor, socks5_plugin.client_strings)


def test_the_usual_proxy() -> None:
    made = Connected("socks5:example.org:80")
    [connector] = made.reactor.connectors
    assert (connector.host, connector.port) == ("127.0.0.1", 1080)
    assert made.hear(METHOD, OK) == b"\5\1\0" + b"\5\1\0\3\x0bexample.org\0\x50"
    assert made.program.notes == ["made"]


@pytest.mark.parametrize("host", [r"2001\:db8\:\:1", r"[2001\:db8\:\:1]"])
def test_another_one_and_ipv6(host: str) -> None:
    made = Connected(rf"socks5:2001\:db8\:\:2:80:proxy={host}:proxyPort=9")
    [connector] = made.reactor.connectors
    assert (connector.host, connector.port) == ("2001:db8::1", 9)
    assert b"\4\x20\x01\x0d\xb8" in made.hear(METHOD)


def test_a_login(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"p=:\\w\n")
    file = quoteStringArgument(str(tmp_path / "secret"))
    for password in (r"password=p=\:\\w", f"passwordFile={file}"):
        made = Connected(f"socks5:example.org:80:user=ü:{password}")
        assert b"\1\2\xc3\xbc\5p=:\\w" in made.hear(LOGIN)
        assert "p=" not in made.shown


def test_an_empty_password() -> None:
    assert b"\1\1a\0" in Connected("socks5:example.org:80:user=a:password=").hear(LOGIN)


def test_tls_with_the_target() -> None:
    made = Connected("socks5:example.org:443:tls=yes")
    assert "over TLS" in made.shown
    assert b"\x16\3\1" in made.hear(METHOD, OK)


def test_names_are_resolved_here_if_it_says_so() -> None:
    assert b"\1\x7f\0\0\1" in Connected("socks5:example.org:443:rdns=no").hear(METHOD)


def test_a_time_out() -> None:
    made = Connected("socks5:example.org:443:timeout=0.5")
    made.reactor.advance(0.5)
    assert isinstance(made.outcome[0].value, ProxyTimeout)


def test_a_chain() -> None:
    first = quoteStringArgument("socks5:second.example:1080:proxy=192.0.2.9")
    made = Connected(f"socks5:example.org:80:endpoint={first}:user=a:password=b")
    assert made.reactor.connectors[0].host == "192.0.2.9"
    assert made.hear(METHOD, OK, LOGIN).endswith(b"\5\2\0\2" + b"\1\1a\1b")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("socks5", "one host and one port"),
        ("socks5:example.org", "one host and one port"),
        ("socks5:::1:80", "one host and one port"),
        ("socks5:example.org:80:x=secret", "x=: expected socks5:HOST"),
        ("socks5:example.org:http", "the port: expected a number"),
        ("socks5://alice:secret@proxy.example", "the port: expected a number"),
        ("socks5:example.org:0", "65535"),
        ("socks5:example.org:80:proxyPort=a", "proxyPort: expected a number"),
        ("socks5:example.org:80:proxyPort=0", "65535"),
        ("socks5:example.org:80:proxy=a b", "proxy=: the host is neither a name nor an address"),
        ("socks5:example.org:80:proxy=socks5\\://a\\:secret@b", "neither a name nor an address"),
        ("socks5:example.org:80:endpoint=tcp\\:a\\:1:proxy=b", "instead of"),
        ("socks5:example.org:80:user=a", "one of them"),
        ("socks5:example.org:80:password=secret", "they need user="),
        ("socks5:example.org:80:user=a:password=secret:passwordFile=b", "one of them"),
        ("socks5:example.org:80:user=:password=secret", "user name"),
        ("socks5:example.org:80:user=a:passwordFile=missing", "missing: No such file"),
        ("socks5:example.org:80:user=a:passwordFile=two", "one line"),
        ("socks5:example.org:80:tls=true", "yes or no"),
        ("socks5:example.org:80:rdns=0", "yes or no"),
        ("socks5:example.org:80:timeout=soon", "timeout: expected a number"),
        ("socks5:example.org:80:timeout=0", "expected seconds"),
    ],
)
def test_what_is_wrong_is_told_without_a_password(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two").write_text("secret\nsecret\n")
    with pytest.raises(ValueError, match=r".") as caught:
        clientFromString(FakeReactor(), text)
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)
