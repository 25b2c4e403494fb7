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


@pytest.mark.parametrize(
    ("used", "spared"),
    [
        ("socks5", "twisted"),
        ("socks5.listen", "socks5.app"),
        *(
            ("__import__('socks5.client')", spared)
            for spared in ("scrapy", "twisted.web", "gssapi", "twisted.internet.reactor")
        ),
    ],
)
def test_what_is_used_imports_nothing_of_what_is_not(used: str, spared: str) -> None:
    """The package alone, and what a program without a command line begins with."""
    code = f"import sys, socks5; {used}; print(any(n.startswith({spared!r}) for n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
