"""Where the programs are that nobody here wrote, and what a test does without one."""

import os
import shutil

import pytest

needs = pytest.mark.needs
"""Marks a test that needs a program: it is looked for before anything is started, so a skip costs nothing.

Its arguments are those of :func:`require_program`.
"""

_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)


def require_program(*names: str) -> str:
    """Return the path of the first of these programs that is installed.

    Daemons are found too, though an ordinary user's ``PATH`` leaves their directories out.

    :param names: one program's name, then the other names it goes by.
    :raises pytest.skip.Exception: none is installed.
    """
    for name in names:
        if path := shutil.which(name, path=_PATH):
            return path
    pytest.skip(f"{' or '.join(names)} is not installed")
