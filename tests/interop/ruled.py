"""The program with rules of the tests' own. Its first argument says which: :data:`RULES`; the others are the options
of ``python -m socks5``.
"""

import sys
from dataclasses import replace
from ipaddress import ip_address

from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from typing_extensions import override

from socks5 import Access, Rules, ServerFactory
from socks5.app.configured import Configured
from socks5.app.options import Options
from socks5.app.service import ProxyService
from socks5.net.openers import PortOpener

ANYWHERE = (sys.executable, "-m", "tests.interop.ruled", "anywhere")
"""Behind a balancer nobody is local, and the targets of the tests are."""

LOOPBACK_ONLY = (sys.executable, "-m", "tests.interop.ruled", "loopback")
"""Nobody leaves the loopback, whatever a client asks for."""


class Anywhere(Rules):
    """Allows everything."""

    @override
    def allows(self, access: Access, address: str | None) -> bool:
        return True


class LoopbackOnly(Rules):
    """Allows addresses of the loopback, and the one name that is sure to lead there."""

    @override
    def allows(self, access: Access, address: str | None) -> bool:
        if address is None:
            return access.target.host == b"localhost" or not access.target.is_name
        return ip_address(address).is_loopback and super().allows(access, address)


RULES = {"anywhere": Anywhere, "loopback": LoopbackOnly}


def main() -> None:
    options = Options()
    options.parseOptions(sys.argv[2:])
    asked = Configured("", reactor, document=options.document)
    access_log = asked.access_log(reactor)
    policy = replace(asked.policy_of_sessions(reactor), rules=RULES[sys.argv[1]]())
    factory = ServerFactory(reactor, policy=policy, access_log=access_log)
    opener, listeners = PortOpener(reactor, factory.limit), asked.listeners(reactor)
    service = ProxyService(reactor, factory, opener, listeners, access_log)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
