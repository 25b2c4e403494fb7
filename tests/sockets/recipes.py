"""Recipes of docs/client.rst, run with real servers through whatever proxy."""

import ast
from pathlib import Path
from typing import Any

from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.portal import Portal
from twisted.protocols.ftp import FTPFactory, FTPRealm

from socks5.client import Proxy
from tests.sockets.wires import until
from tests.sockets.world import World
from tests.support.readme import blocks

PAGE = (Path(__file__).resolve().parents[2] / "docs/client.rst").read_text()


def _recipe(beginning: str, **replaced: str) -> Any:
    """The block of the page that begins so, as code for a coroutine."""
    [text] = (block.text for block in blocks(PAGE) if block.text.startswith(beginning))
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(text, "client.rst", "exec", flags=flags, dont_inherit=True)


async def look_up(proxy: Proxy, port: int, name: str = "www.example.org") -> Any:
    """Ask the name server at a port of 127.0.0.1 through datagrams.

    :returns: the answers.
    """
    scope: dict[str, Any] = {"proxy": proxy}
    asked = {'("192.0.2.53", 53)': f'("127.0.0.1", {port})', "www.example.org": name}
    await eval(_recipe("from twisted.names", **asked), scope)
    return scope["answers"]


async def fetch_by_ftp(proxy: Proxy, world: World, directory: Path) -> None:
    """Fetch a file in active mode, with Twisted's client and server."""
    (directory / "README").write_bytes(b"content" * 1000)
    realm = FTPRealm(str(directory))
    server: Any = FTPFactory(Portal(realm, [AllowAnonymousAccess()]))
    server.noisy = False
    port = world.serve(server)
    code = _recipe(
        "from twisted.internet.endpoints import connectProtocol",
        **{
            '"192.0.2.7", 21': f'"127.0.0.1", {port}',
            '"192.0.2.7", "README"': '"127.0.0.1", "README"',
        },
    )
    scope: dict[str, Any] = {"proxy": proxy}
    await eval(code, scope)
    assert scope["file"].content == b"content" * 1000
    scope["ftp"].transport.loseConnection()
    await until(lambda: not scope["ftp"].transport.connected)
