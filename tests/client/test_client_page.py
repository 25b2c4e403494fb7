"""docs/client.rst keeps its word: its Python runs, block behind block, through proxies that let everybody through."""

import ast
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from socks5.client import ClientError
from socks5.client.scrapy import DownloadHandler
from socks5.client.urls import read
from tests.support.certificates import Authority
from tests.support.deferreds import outcome_of, told
from tests.support.reactor import FakeReactor
from tests.support.readme import Block, blocks
from tests.support.skips import needs_gssapi, needs_scrapy, needs_treq
from tests.support.through import LOGIN, METHOD, OK, Program

PAGE = (Path(__file__).resolve().parents[2] / "docs/client.rst").read_text()
OPTIONAL = ("import treq", "import scrapy", "from socks5.client.kerberos")
"""How those begin that need what may not be installed."""

ON_SOCKETS = ("from twisted.internet.endpoints import connectProtocol", "from twisted.names")
"""How those begin that are run in ``tests/sockets/recipes.py``, with real servers."""

ALL = [block for block in blocks(PAGE) if block.language == "python"]
PYTHON = [block for block in ALL if not block.text.startswith((*OPTIONAL, *ON_SOCKETS))]


class Agreeable(FakeReactor):
    """A reactor whose connections lead to proxies that want a login if there is one, and let everybody through."""

    def __init__(self) -> None:
        super().__init__()
        self._transports: list[Any] = []

    def talk(self) -> None:
        """Accept all connections, and answer what was said on them."""
        for connector in self.connectors:
            if connector.state == "connecting":
                self._transports.append(connector.succeed())
        self.turn()
        for transport in self._transports:
            said = transport.value()
            transport.clear()
            transport.deliver(answer_to(said))
        self.turn()


def answer_to(said: bytes) -> bytes:
    """A proxy's, and the web's behind it."""
    if said.startswith(b"CONNECT "):
        return b"HTTP/1.1 200 OK\r\n\r\n"
    if said.startswith((b"\5\1\0\3", b"\5\xf0", b"\5\xf1")):
        answers = {0xF0: b"\1\xc0\0\2\1\0\0", 0xF1: b"\3\1a\0\0"}
        return b"\5\0\0" + answers[said[1]] if said[1] in answers else OK
    if said.startswith(b"\5\2\0\1"):
        return OK + b"\5\0\0\1\xc0\0\2\7\0\x14"  # and the peer has come
    if said.startswith(b"\1"):
        return b"\1\0"
    if said.startswith(b"GET "):
        return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    wants = LOGIN if b"\2" in said[2:] else METHOD
    return wants if said.startswith(b"\5") else b""


def run(block: Block, names: dict[str, Any], reactor: Agreeable) -> None:
    """As in a coroutine of a program's."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(block.text, f"client.rst:{block.line}", "exec", flags=flags, dont_inherit=True)
    found = eval(code, names)
    if found is not None:
        outcome = told(Deferred.fromCoroutine(found))
        while not outcome:
            reactor.talk()
        assert outcome == [None]


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").write_bytes(Authority(tmp_path).path.read_bytes())
    (tmp_path / "authorities").mkdir()
    reactor = Agreeable()
    monkeypatch.setattr("twisted.internet.reactor", reactor)
    for name in ("all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://alice:secret@proxy.example")
    factory = Program()
    names: dict[str, Any] = {"factory": factory}
    for block in PYTHON:
        run(block, names, reactor)
    assert factory.notes == ["made"] * 4
    assert len(names["chain"].hops) == 3
    assert capsys.readouterr().out.startswith("HostnameAddress(hostname=b'www.example.org'")


@needs_treq
def test_its_recipe_for_treq_runs(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    reactor = Agreeable()
    monkeypatch.setattr("twisted.internet.reactor", reactor)
    [recipe] = (block for block in ALL if block.text.startswith("import treq"))
    names: dict[str, Any] = {"factory": Program()}
    for block in (PYTHON[0], recipe):
        run(block, names, reactor)
    assert capsys.readouterr().out == "hello\n"


@needs_scrapy
def test_its_recipe_for_scrapy_runs() -> None:
    """But for the crawl, as which ``examples/crawler.py`` is tried."""
    from scrapy.utils.misc import load_object

    [recipe] = (block for block in ALL if block.text.startswith("import scrapy"))
    names: dict[str, Any] = {}
    run(recipe, names, Agreeable())
    spider = names["Pages"]()
    handlers = spider.custom_settings["DOWNLOAD_HANDLERS"].values()
    assert set(map(load_object, handlers)) == {DownloadHandler}

    async def proxies() -> list[str]:
        return [request.meta["proxy"] async for request in spider.start()]

    for proxy in outcome_of(Deferred.fromCoroutine(proxies())):
        read(proxy)


@needs_gssapi
def test_its_recipe_for_kerberos_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    reactor = Agreeable()
    monkeypatch.setattr("twisted.internet.reactor", reactor)
    [recipe] = (block for block in ALL if "Initiator" in block.text)
    names: dict[str, Any] = {"factory": Program()}
    for block in (PYTHON[0], recipe):
        run(block, names, reactor)
    assert names["kerberos"].hops[0].context_host == "proxy.example"


def test_the_first_block_is_three_lines_and_what_they_need() -> None:
    lines = PYTHON[0].text.strip().splitlines()
    assert lines.index("") == len(lines) - 4
    assert all(line.startswith("from ") for line in lines[:-4])


def test_all_its_urls_can_be_read() -> None:
    table = PAGE.partition("* - URL")[2].partition("\n\n")[0]
    schemes = [word.strip("`") for word in table.split() if "://" in word]
    assert len(schemes) == 8
    for scheme in schemes:
        read(f"{scheme}proxy.example:1" if scheme.endswith("://") else scheme)


def test_the_stages_are_said() -> None:
    for stage in ("resolve", "connect", "tls", "method", "login", "reply", "peer"):
        assert f"``{stage}``" in PAGE
        assert f"``{stage}``" in (ClientError.__doc__ or "")
