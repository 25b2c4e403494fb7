"""The options of GSSAPI: what they become, and what is refused with which words."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

import socks5.app.gssapi_options
from socks5.app.assembly import makeService
from socks5.app.options import Options
from socks5.auth.kerberos import PROTECTIONS
from socks5.auth.users import WrongSource
from socks5.protocol.gssapi import Protection
from socks5.protocol.messages import Method
from tests.support.kerberos import write_keytab
from tests.support.skips import needs_gssapi

NONE, INTEGRITY, CONFIDENTIALITY = (
    Protection.NONE,
    Protection.INTEGRITY,
    Protection.CONFIDENTIALITY,
)
AUTH = ["--auth", "memory:alice:secret"]


def parse(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def refusal(*arguments: str) -> str:
    with pytest.raises(usage.UsageError) as raised:
        parse(*arguments)
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence


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
        (["--gssapi", "rcmd", "--gssapi-protection", "none"], {"protections": (NONE,)}),
        (
            ["--gssapi", "rcmd", "--gssapi-protection", "confidentiality,none,integrity"],
            {"protections": (NONE, INTEGRITY, CONFIDENTIALITY)},
        ),
        (
            ["--gssapi", "rcmd", "--gssapi-local-realm", "A.EXAMPLE"],
            {"local_realms": ("A.EXAMPLE",)},
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


def test_nobody_is_asked_for_a_ticket_unless_told_to() -> None:
    assert parse().contexts(object()) is None


@pytest.mark.usefixtures("any_keytab")
@pytest.mark.parametrize("prefix", ["", "FILE:"])
def test_a_keytab_is_found_wherever_the_service_runs(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keytab").touch()
    monkeypatch.chdir(tmp_path)
    options = parse("--gssapi", "rcmd", "--keytab", f"{prefix}keytab")
    monkeypatch.chdir("/")
    assert options.contexts(None).made["keytab"] == str(tmp_path / "keytab")


@pytest.mark.usefixtures("any_keytab")
def test_a_keytab_may_be_a_credential_of_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").touch()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    options = parse("--gssapi", "rcmd", "--keytab", "credential=keys")
    assert options.contexts(None).made["keytab"] == str(tmp_path / "keys")


@needs_gssapi
def test_tickets_are_a_login(keytab: str) -> None:
    """So others may reach the proxy, and "no authentication" is not accepted."""
    factory = makeService(
        parse("--interface", "192.0.2.1", "--gssapi", "any", "--keytab", keytab),
        MemoryReactorClock(),
    ).factory  # type: ignore[attr-defined]
    assert tuple(factory.in_force.methods) == (Method.GSSAPI,)


@needs_gssapi
def test_tickets_and_passwords_go_together(keytab: str) -> None:
    factory = makeService(
        parse("--gssapi", "any", "--keytab", keytab, *AUTH), MemoryReactorClock()
    ).factory  # type: ignore[attr-defined]
    assert tuple(factory.in_force.methods) == (Method.GSSAPI, Method.USERNAME_PASSWORD)


@needs_gssapi
def test_a_listener_takes_tickets_only(keytab: str) -> None:
    options = parse(
        *("--gssapi", "any", "--keytab", keytab, *AUTH),
        *("-i", "192.0.2.1", "--methods", "gssapi"),
        *("-i", "192.0.2.2", "--methods", "none,password,gssapi", "--clients", "192.0.2.0/24"),
    )
    tickets, every = (options.policy(place).methods for place in options.places)
    assert tickets == (Method.GSSAPI,)
    assert every == (Method.GSSAPI, Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION)


@needs_gssapi
def test_the_parent_of_workers_knows_the_method(keytab: str) -> None:
    options = parse("--gssapi", "any", "--keytab", keytab, "--methods", "gssapi", "--workers", "2")
    makeService(options, MemoryReactorClock())


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
        (["--gssapi", "@localhost"], f"{SERVICE}'@localhost'"),
        (["--gssapi", "rcmd@"], f"{SERVICE}'rcmd@'"),
        (["--gssapi", "rcmd@localhost@REALM"], f"{SERVICE}'rcmd@localhost@REALM'"),
        (
            ["--gssapi-protection", "privacy"],
            "--gssapi-protection: expected some of none,integrity,confidentiality, got 'privacy'",
        ),
        (
            ["--gssapi-protection", ""],
            "--gssapi-protection: expected some of none,integrity,confidentiality, got ''",
        ),
        (
            ["--gssapi-local-realm", ""],
            "--gssapi-local-realm: expected a realm, such as EXAMPLE.ORG, got ''",
        ),
        (
            ["--gssapi-local-realm", "@EXAMPLE.ORG"],
            "--gssapi-local-realm: expected a realm, such as EXAMPLE.ORG, got '@EXAMPLE.ORG'",
        ),
        (["--keytab", ""], "--keytab: expected the path of a file"),
        (["--gssapi-protection", "none"], f"--gssapi-protection{ALONE}"),
        (["--gssapi-local-realm", "EXAMPLE.ORG"], f"--gssapi-local-realm{ALONE}"),
        (["--keytab", os.devnull], f"--keytab{ALONE}"),
        (
            ["--methods", "gssapi"],
            "--methods gssapi: expected --gssapi SERVICE as well, there is no keytab",
        ),
        (
            [*AUTH, "--methods", "gssapi,password"],
            "--methods gssapi: expected --gssapi SERVICE as well, there is no keytab",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: Sequence[str], sentence: str) -> None:
    assert refusal(*arguments) == sentence


@pytest.mark.parametrize(
    ("path", "why"), [("nosuch", "No such file or directory"), (".", "Is a directory")]
)
def test_a_keytab_that_cannot_be_read(
    path: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal("--gssapi", "rcmd", "--keytab", path) == (
        f"--keytab: expected a file that can be read, got {path!r} ({why}); make it with "
        "kadmin: ktadd -k FILE SERVICE/HOST, and let only the proxy's user read it"
    )


def test_what_the_acceptor_says_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise WrongSource("needs something")

    monkeypatch.setattr(socks5.app.gssapi_options, "Acceptor", refuse)
    assert refusal("--gssapi", "any") == "--gssapi any: needs something"


@needs_gssapi
def test_without_a_login_both_are_offered(keytab: str) -> None:
    sentence = refusal("-i", "192.0.2.1")
    assert "--gssapi for Kerberos" in sentence
    options = ["--gssapi", "any", "--keytab", keytab, "-i", "192.0.2.1", "--methods", "none"]
    assert "Choose one: --methods gssapi, so that users log in" in refusal(*options)
    assert "Choose one: --methods gssapi,password, so that" in refusal(*AUTH, *options)


# ---------------------------------------------------------------- real keytabs


@needs_gssapi
@pytest.mark.parametrize(
    "service", ["any", "rcmd", "rcmd@localhost", "socks", "socks@proxy.example"]
)
def test_a_service_that_the_keytab_has_a_key_for(service: str, keytab: str) -> None:
    parse("--gssapi", service, "--keytab", keytab)


@needs_gssapi
@pytest.mark.parametrize("service", ["HTTP", "rcmd@proxy.example"])
def test_a_service_that_the_keytab_has_no_key_for(service: str, keytab: str) -> None:
    sentence = refusal("--gssapi", service, "--keytab", keytab)
    assert sentence.startswith(f"--gssapi {service}, --keytab {keytab}: ")
    assert sentence.endswith(f"expected a keytab with a key of {service}; klist -k shows its keys")


@needs_gssapi
@pytest.mark.parametrize("octets", [b"", b"rcmd", b"\5\2"], ids=["empty", "text", "no keys"])
def test_a_file_that_is_no_keytab(octets: bytes, tmp_path: Path) -> None:
    path = tmp_path / "keytab"
    path.write_bytes(octets)
    sentence = refusal("--gssapi", "any", "--keytab", str(path))
    assert sentence.startswith(f"--gssapi any, --keytab {path}: ")
    assert sentence.endswith("expected a keytab with a key of a service; klist -k shows its keys")


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
