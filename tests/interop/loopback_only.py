"""A proxy that lets nobody leave the loopback, whatever a client asks for: a program of its own.

Takes the options of ``python -m socks5`` that say where to listen and what to log.
"""

import sys
from ipaddress import ip_address

from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from typing_extensions import override

from socks5 import Access, Rules, ServerFactory
from socks5.app.options import Options
from socks5.app.service import ProxyService
from socks5.net.openers import PortOpener


class LoopbackOnly(Rules):
    """Allows addresses of the loopback, and the one name that is sure to lead there."""

    @override
    def allows(self, access: Access, address: str | None) -> bool:
        if address is None:
            return access.target.host == b"localhost" or not access.target.is_name
        return ip_address(address).is_loopback and super().allows(access, address)


def main() -> None:
    options = Options()
    options.parseOptions(sys.argv[1:])
    access_log = options.access_log(reactor)
    factory = ServerFactory(reactor, rules=LoopbackOnly(), access_log=access_log)
    opener, listeners = PortOpener(reactor, factory.limit), options.listeners(reactor)
    service = ProxyService(reactor, factory, opener, listeners, access_log)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
