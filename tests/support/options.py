"""Command lines: what is made of them, and the sentences they are refused with."""

import pytest
from twisted.python import usage

from socks5.app.options import Options


def parse(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def refusal(*arguments: str) -> str:
    """The one sentence that these options are refused with."""
    with pytest.raises(usage.UsageError) as raised:
        parse(*arguments)
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence
