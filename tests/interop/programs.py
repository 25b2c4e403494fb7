"""Where the programs are that nobody here wrote, and what a test does without one."""

import os
import shutil

import pytest

REQUIRE = "TXSOCKS5_REQUIRE_INTEROP"
"""Set in CI, where a missing program is a failure: nothing is skipped unnoticed there."""

_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)


def require_program(*names: str) -> str:
    """Return the path of the first of these programs that is installed.

    Daemons are found too, though an ordinary user's ``PATH`` leaves their directories out.

    :param names: one program's name, then the other names it goes by.
    :raises pytest.skip.Exception: none is installed; with ``TXSOCKS5_REQUIRE_INTEROP`` set the test
        fails instead.
    """
    for name in names:
        if path := shutil.which(name, path=_PATH):
            return path
    reason = f"{' or '.join(names)} is not installed"
    if os.environ.get(REQUIRE):
        pytest.fail(f"{reason}, and {REQUIRE} is set")
    pytest.skip(reason)
