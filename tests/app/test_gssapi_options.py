"""The options of GSSAPI: what they become, and what is refused with which words."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

import socks5.app.gssapi_options
from socks5.app.assembly import makeService
from socks5.auth.kerberos import PROTECTIONS
from socks5.protocol.gssapi import Protection
from socks5.protocol.messages import Method
from tests.support.kerberos import write_keytab
from tests.support.options import parse, refusal
from tests.support.skips import needs_gssapi

NONE, INTEGRITY, CONFIDENTIALITY = tuple(Protection)[:3]
AUTH = ["--auth", "memory:alice:secret"]


class Acceptor:
    """Keeps what it is made with."""

    def __init__(self, reactor: object, service: str | None, **options: Any) -> None:
        self.reactor = reactor
        self.made = {"service": service, **options}


@pytest.fixture
def any_keytab(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is, it can be used."""
    monkeypatch.setattr(socks5.app.gssapi_options, "Acceptor", Acceptor)


@pytest.fixture
def keytab(tmp_path: Path) -> str:
    """A real one."""
    return str(write_keytab(tmp_path / "keytab", "rcmd/localhost", "socks/proxy.example"))


# ---------------------------------------------------------------- what the options become

DEFAULT = {
    "service": "rcmd",
    "keytab": None,
    "protections": PROTECTIONS,
    "local_realms": (),
}


@pytest.mark.usefixtures("any_keytab")
@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["--gssapi", "rcmd"], {}),
        (["--gssapi", "rcmd@proxy.example"], {"service": "rcmd@proxy.example"}),
        (["--gssapi", "any"], {"service": None}),
        (
            ["--gssapi", "rcmd", "--gssapi-protection", "confidentiality,none,integrity"],
            {"protections": (NONE, INTEGRITY, CONFIDENTIALITY)},
        ),
        (
            ["--gssapi-local-realm", "A", "--gssapi", "rcmd", "--gssapi-local-realm", "B"],
            {"local_realms": ("A", "B")},
        ),
    ],
)
def test_options_become_an_acceptor(arguments: Sequence[str], made: dict[str, Any]) -> None:
    reactor = object()
    acceptor: Any = parse(*arguments).contexts(reactor)
    assert acceptor.made == {**DEFAULT, **made}
    assert acceptor.reactor is reactor


@pytest.mark.usefixtures("any_keytab")
@pytest.mark.parametrize("name", ["keytab", "FILE:keytab", "credential=keytab"])
def test_a_keytab_is_found_wherever_the_service_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in the working directory of now, or a credential of systemd's."""
    (tmp_path / "keytab").touch()
    if name.startswith("credential"):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    else:
        monkeypatch.chdir(tmp_path)
    options = parse("--gssapi", "rcmd", "--keytab", name)
    monkeypatch.chdir("/")
    assert options.contexts(None).made["keytab"] == str(tmp_path / "keytab")


@needs_gssapi
def test_tickets_are_a_login(keytab: str) -> None:
    """So others may reach the proxy, "no authentication" is not accepted, and the parent of workers knows it."""
    tickets = ["--gssapi", "any", "--keytab", keytab]
    factory = makeService(parse("-i", "192.0.2.1", *tickets), MemoryReactorClock()).factory  # type: ignore[attr-defined]
    assert tuple(factory.in_force.methods) == (Method.GSSAPI,)
    makeService(parse(*tickets, "--methods", "gssapi", "--workers", "2"), MemoryReactorClock())
    options = parse(
        *(*tickets, *AUTH, "-i", "192.0.2.1", "--methods", "gssapi"),
        *("-i", "192.0.2.2", "--methods", "none,password,gssapi", "--clients", "192.0.2.0/24"),
        *("-i", "192.0.2.3"),
    )
    only, every, usual = (options.policy(place).methods for place in options.places)
    assert only == (Method.GSSAPI,)
    assert every == (Method.GSSAPI, Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION)
    assert usual is None
    together = makeService(options, MemoryReactorClock()).factory  # type: ignore[attr-defined]
    assert tuple(together.in_force.methods) == (Method.GSSAPI, Method.USERNAME_PASSWORD)


# ---------------------------------------------------------------- what is refused

SERVICE = (
    "--gssapi: expected SERVICE, SERVICE@HOST or any, such as rcmd or rcmd@proxy.example, got "
)
ALONE = ": expected --gssapi SERVICE as well, without it nobody is asked for a ticket"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gssapi", ""], f"{SERVICE}''"),
        (["--gssapi", "rcmd/localhost"], f"{SERVICE}'rcmd/localhost'"),
        (["--gssapi", "rcmd@localhost@REALM"], f"{SERVICE}'rcmd@localhost@REALM'"),
        (
            ["--gssapi-protection", "privacy"],
            "--gssapi-protection: expected some of none,integrity,confidentiality, got 'privacy'",
        ),
        (
            ["--gssapi-local-realm", "@EXAMPLE.ORG"],
            "--gssapi-local-realm: expected a realm, such as EXAMPLE.ORG, got '@EXAMPLE.ORG'",
        ),
        (["--keytab", ""], "--keytab: expected the path of a file"),
        (
            ["--keytab", "/nosuch"],
            (
                "--keytab: expected a file that can be read, got '/nosuch' (No such file or directory); "
                "make it with kadmin: ktadd -k FILE SERVICE/HOST, and let only the proxy's user read it"
            ),
        ),
        (["--gssapi-protection", "none"], f"--gssapi-protection{ALONE}"),
        (["--gssapi-local-realm", "EXAMPLE.ORG"], f"--gssapi-local-realm{ALONE}"),
        (["--keytab", os.devnull], f"--keytab{ALONE}"),
        (
            [*AUTH, "--methods", "gssapi,password"],
            "--methods gssapi: expected --gssapi SERVICE as well, there is no keytab",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: Sequence[str], sentence: str) -> None:
    assert refusal(*arguments) == sentence


@needs_gssapi
def test_without_a_login_both_are_offered(keytab: str) -> None:
    sentence = refusal("-i", "192.0.2.1")
    assert "--gssapi for Kerberos" in sentence
    options = ["--gssapi", "any", "--keytab", keytab, "-i", "192.0.2.1", "--methods", "none"]
    assert "Choose one: --methods gssapi, so that users log in" in refusal(*options)
    assert "Choose one: --methods gssapi,password, so that" in refusal(*AUTH, *options)


# ---------------------------------------------------------------- real keytabs


@needs_gssapi
def test_the_keytab_has_a_key_for_the_service(keytab: str, tmp_path: Path) -> None:
    for service in ("any", "rcmd", "rcmd@localhost", "socks@proxy.example"):
        parse("--gssapi", service, "--keytab", keytab)
    for service in ("HTTP", "rcmd@proxy.example"):
        sentence = refusal("--gssapi", service, "--keytab", keytab)
        assert sentence.startswith(f"--gssapi {service}, --keytab {keytab}: ")
        assert sentence.endswith(
            f"expected a keytab with a key of {service}; klist -k shows its keys"
        )
    path = tmp_path / "none"
    for octets in (b"", b"rcmd", b"\5\2"):
        path.write_bytes(octets)
        sentence = refusal("--gssapi", "any", "--keytab", str(path))
        assert sentence.startswith(f"--gssapi any, --keytab {path}: ")
        assert sentence.endswith("a key of a service; klist -k shows its keys")


@needs_gssapi
def test_the_systems_keytab(keytab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5_KTNAME", keytab)
    parse("--gssapi", "rcmd")
    monkeypatch.setenv("KRB5_KTNAME", str(tmp_path / "nosuch"))
    sentence = refusal("--gssapi", "rcmd")
    assert sentence.startswith("--gssapi rcmd: ")
    assert str(tmp_path / "nosuch") in sentence


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    sentence = refusal("--gssapi", "any")
    assert sentence.startswith("--gssapi any: ")
    assert "pip install 'txsocks5[gssapi]'" in sentence
