"""``python -m socks5``: the service of ``twistd -n socks5``, without twistd.

Takes the same options, logs to the standard output, and shows an import error as what it is, where
``twistd`` would only say "Unknown command". ``python -m socks5 passwd`` is :mod:`socks5.app.passwd`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python import usage

from socks5.app import passwd
from socks5.app.assembly import makeService, this_reactor
from socks5.app.inherit import VARIABLE
from socks5.app.options import Options
from socks5.app.service import refusal_of
from socks5.app.signals import hold


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the proxy until SIGTERM or SIGINT; or, behind ``passwd``, that command.

    :param arguments: the options; default: those of this process.
    :raises SystemExit: the options are wrong (status 2), or the service does not start (status 1).
    """
    command = list(sys.argv[1:] if arguments is None else arguments)
    if command[:1] == ["passwd"]:
        passwd.main(command[1:])
        return
    hold()
    options = Options()
    try:
        options.parseOptions(arguments)
    except usage.UsageError as error:
        sys.stderr.write(f"socks5: {error}\nTry --help.\n")
        raise SystemExit(2) from None
    reactor = this_reactor()
    # A parent puts the time before what its workers say.
    time_format = "" if VARIABLE in os.environ else "%Y-%m-%dT%H:%M:%S%z"
    observer = textFileLogObserver(sys.stdout, time_format)
    service = makeService(options, reactor)
    globalLogBeginner.beginLoggingTo([observer])
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    if refusal_of(service) is not None:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
