"""The program with rules that let every client go anywhere: behind a balancer nobody is local, and the targets
of the tests are.

Takes the options of ``python -m socks5``.
"""

import sys

from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from typing_extensions import override

from socks5 import Access, Rules, ServerFactory
from socks5.app.options import Options
from socks5.app.service import ProxyService
from socks5.net.openers import PortOpener


class Anywhere(Rules):
    """Allows everything."""

    @override
    def allows(self, access: Access, address: str | None) -> bool:
        return True


def main() -> None:
    options = Options()
    options.parseOptions(sys.argv[1:])
    access_log = options.access_log(reactor)
    factory = ServerFactory(
        reactor,
        rules=Anywhere(),
        settings=options.settings,
        authenticator=options.authenticator,
        gssapi=options.contexts(reactor),
        access_log=access_log,
    )
    opener, listeners = PortOpener(reactor, factory.limit), options.listeners(reactor)
    service = ProxyService(reactor, factory, opener, listeners, access_log)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
