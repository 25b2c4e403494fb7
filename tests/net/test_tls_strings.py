"""The string for TLS: what it becomes, what is refused and with which words, what is Twisted's."""

from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

from socks5 import listen
from socks5.app.options import Options
from socks5.net.certificate_files import Files, Unusable
from socks5.net.certificate_names import NAMES
from socks5.net.places import TCP
from socks5.net.tls_strings import FORM, tls_from
from socks5.server.factory import ServerFactory
from tests.support.certificates import Authority


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Certificates in the working directory: ``server.pem`` and ``ca.pem``."""
    monkeypatch.chdir(tmp_path)
    authority = Authority(tmp_path, "ca")
    authority.server()
    return tmp_path


# ---------------------------------------------------------------- what a string becomes

OPEN = "tls:1443:cert=server.pem"
CERTIFIED = f"{OPEN}:clients=ca.pem"
OPTIONAL = f"{CERTIFIED}:client-certificates=optional"
PEM = "{here}/server.pem"


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (OPEN, Files(PEM, PEM)),
        (CERTIFIED, Files(PEM, PEM, "{here}/ca.pem", names=tuple(NAMES))),
        (f"{CERTIFIED}:client-certificates=required", Files(PEM, PEM, "{here}/ca.pem")),
        (
            f"{OPTIONAL}:key=ca.pem:client-name=email",
            Files(PEM, "{here}/ca.pem", "{here}/ca.pem", is_required=False, names=("email",)),
        ),
        (r"tls:1443:cert=a\:b=c\\d.pem", Files("{here}/a:b=c\\d.pem", "{here}/a:b=c\\d.pem")),
    ],
)
def test_a_certificate_is_enough_and_everything_can_be_said(
    description: str, expected: Files, here: Path
) -> None:
    found = tls_from(description)
    assert found is not None
    names = ("cert", "key", "clients")
    paths = {name: path.format(here=here) for name in names if (path := getattr(expected, name))}
    assert found == (TCP(1443), replace(expected, **paths))


@pytest.mark.parametrize(
    "description",
    ["tcp:1443", "", "ssl:1443:cert=x", "tls:.:1443", "tls:folder.pem/..:1443", r"tls\:1443"],
)
def test_another_string_is_for_twisted(description: str, here: Path) -> None:
    (here / "folder.pem").mkdir()
    assert tls_from(description) is None


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ("tls:1443", f"cert=FILE is missing: expected {FORM}, or tls:DIRECTORY:PORT"),
        ("tls:1443:cert=", "cert=FILE is missing: "),
        ("tls", "no port: expected a folder of PEM files with keys and certificates, or tls:PORT:"),
        ("tls:", "no port: expected a folder of PEM files with keys and certificates"),
        ("tls:server.pem:1443", "server.pem: expected a folder of PEM files"),
        ("tls:/proc:1443", "/proc: expected a folder of PEM files"),
        ("tls:cert=server.pem", f"expected one port, from 0 to 65535, in {FORM}"),
        ("tls:65536:cert=server.pem", "expected one port"),
        ("tls:1443:127.0.0.1:cert=server.pem", "expected one port"),
        ("tls:1443:cert=server.pem:certKey=x", f"certKey=: expected {FORM}"),
        ("tls:1443:cert=none.pem", "cert={here}/none.pem: No such file or directory"),
        ("tls:1443:cert=server.pem:key=ca.pem", "key={here}/ca.pem: no whole key in it"),
        (
            "tls:1443:cert=server.pem:client-certificates=optional",
            "client-certificates= is about clients' certificates: expected clients=FILE with it",
        ),
        ("tls:1443:cert=server.pem:client-name=cn", "client-name= is about clients'"),
        (
            "tls:1443:cert=server.pem:clients=ca.pem:client-certificates=no",
            "client-certificates=no: expected required or optional",
        ),
        (
            "tls:1443:cert=server.pem:clients=ca.pem:client-name=ou",
            "client-name=ou: expected email or dns or uri or cn",
        ),
    ],
)
def test_what_is_wrong_is_said(description: str, sentence: str, here: Path) -> None:
    expected = sentence.replace("{here}", str(here))
    with pytest.raises(Unusable) as raised:
        listen(MemoryReactorClock(), description, ServerFactory(Clock()))
    assert str(raised.value).startswith(expected)
    with pytest.raises(usage.UsageError) as refused:
        Options().parseOptions(["--listen", description])
    assert str(refused.value).startswith(f"--listen {description}: {expected}")


# ---------------------------------------------------------------- who can reach it


@pytest.mark.parametrize("description", [OPEN, OPTIONAL])
def test_without_required_certificates_another_decision_is_needed(description: str) -> None:
    Options().parseOptions(["--listen", CERTIFIED, "--listen", f"{OPEN}:interface=127.0.0.1"])
    options = ["--listen", CERTIFIED, "--listen", description]
    with pytest.raises(usage.UsageError, match="others than this machine could reach") as raised:
        Options().parseOptions(options)
    assert description in str(raised.value)
    Options().parseOptions([*options, "--open"])
