"""The package's own names: each is there, and costs nothing until it is asked for."""

import subprocess
import sys

import pytest

import socks5


@pytest.mark.parametrize("name", socks5.__all__)
def test_a_public_name_is_what_its_module_defines(name: str) -> None:
    found = getattr(socks5, name)
    assert getattr(found, "__name__", name) in {name, "Callable"}  # which an alias is called
    assert name in dir(socks5)


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="module 'socks5' has no attribute 'Proxy'"):
        socks5.Proxy  # noqa: B018


def test_the_package_alone_imports_nothing() -> None:
    code = "import sys, socks5; print(any(name.startswith('twisted') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_program_that_listens_has_nothing_of_the_command_line() -> None:
    code = "import sys, socks5; socks5.listen; print('socks5.app' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
