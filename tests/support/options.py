"""Command lines: what is made of them, and the sentences they are refused with."""

from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

from socks5.app.config.document import Refused
from socks5.app.configured import Configured
from socks5.app.options import Options


def parse(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def asked(*arguments: str) -> Configured:
    """What a command line asks for."""
    options = parse(*arguments)
    clock: Any = MemoryReactorClock()
    return Configured("", clock, options.worker, arguments, document=options.document)


def refusal(*arguments: str) -> str:
    """The one sentence that these options are refused with."""
    with pytest.raises((usage.UsageError, Refused)) as raised:
        asked(*arguments)
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence
