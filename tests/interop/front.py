"""Our server with upstreams, as a file has them, in this process: whatever it is asked for goes through the upstream
``up``.
"""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from socks5.app.config.document import parse
from socks5.app.configured import Configured
from socks5.net.listening import listen_from, listen_with
from socks5.net.openers import PortOpener
from tests.sockets.clients import Factory, Proxy
from tests.support.providers import Records

CONFIGURATION = """\
[server]
commands = ["connect", "bind", "udp", "resolve"]
[[rule]]
name = "far"
action = "allow"
via = "up"
"""


@asynccontextmanager
async def serving(directory: Path, upstreams: str) -> AsyncIterator[Proxy]:
    """One on 127.0.0.1.

    :param directory: where paths begin.
    :param upstreams: the tables of the file that say what they are.
    """
    from twisted.internet import reactor

    document = parse(CONFIGURATION + upstreams, "socks5.toml", str(directory))
    policy = Configured("", reactor, document=document).policy_of_sessions(reactor)
    factory = Factory(reactor, policy, access_log=Records())
    opener = PortOpener(reactor, factory.limit)
    port = await listen_with(opener, listen_from("127.0.0.1:0"), factory)
    try:
        with ExitStack() as stack:
            yield Proxy(stack, factory, port)
    finally:
        await port.stopListening()
        await factory.close_sessions("the test is over", 1)
