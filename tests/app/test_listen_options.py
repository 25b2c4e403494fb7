"""The options of one listener: where they hold, what is refused, and that open by mistake does not start."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from socks5 import TCP, Listen, ListenerPolicy, Networks
from socks5.app.listeners import Listener, certificates_of
from socks5.protocol.messages import Method
from tests.support.certificates import self_signed
from tests.support.options import parse, refusal

AUTH = ["--auth", "memory:alice:secret"]
PASSWORD, NONE = Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION


def policies(*arguments: str) -> list[ListenerPolicy]:
    """What the listeners of a command line let in, in order."""
    options = parse(*arguments)
    return [options.policy(place) for place in options.places] or [options.policy()]


A = ["--listen", "tcp:1:interface=127.0.0.1"]
B = ["-i", "127.0.0.2"]
NET = Networks.parse("192.0.2.0/24")
OTHER = Networks.parse("2001:db8::/32")
CLIENTS = ["--clients", "192.0.2.0/24"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [ListenerPolicy()]),
        (["--methods", "none"], [ListenerPolicy(methods=(NONE,))]),
        ([*A, *CLIENTS, *A], [ListenerPolicy(clients=NET), ListenerPolicy()]),
        ([*CLIENTS, *A, *A], [ListenerPolicy(clients=NET)] * 2),
        (
            [*CLIENTS, *B, "--clients", "2001:db8::/32", *B],
            [ListenerPolicy(clients=OTHER), ListenerPolicy(clients=NET)],
        ),
        ([*B, *CLIENTS, "--clients", "2001:db8::/32"], [ListenerPolicy(clients=NET | OTHER)]),
        ([*B, "--clients=192.0.2.0/24,2001:db8::/32"], [ListenerPolicy(clients=NET | OTHER)]),
        ([*AUTH, *B, "--proxy-from=192.0.2.0/24"], [ListenerPolicy(proxies=NET)]),
        ([*AUTH, "--proxy-from=192.0.2.0/24", *A, *A], [ListenerPolicy(proxies=NET)] * 2),
        ([*AUTH, *B, "--methods", "none,password"], [ListenerPolicy(methods=(PASSWORD, NONE))]),
        (
            [*B, "--methods", "password", *B, "--methods", "none", *AUTH],
            [ListenerPolicy(methods=(PASSWORD,)), ListenerPolicy(methods=(NONE,))],
        ),
        (["--methods", "none", *B, *CLIENTS], [ListenerPolicy(methods=(NONE,), clients=NET)]),
    ],
)
def test_options_hold_for_the_listener_before_them_or_for_all(
    arguments: Sequence[str], expected: Sequence[ListenerPolicy]
) -> None:
    assert policies(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--methods", "gss"], "--methods: expected some of gssapi,chap,password,none, got 'gss'"),
        (
            [*AUTH, "--methods", "password,chap"],
            "--methods chap: expected --auth secrets:FILE as well, there are no secrets",
        ),
        (
            [*B, "--methods", "none", *B, "--methods", "none,password"],
            "--methods password: expected --auth TYPE:ARGS as well, there are no users",
        ),
        (
            ["--clients", "192.0.2.1/24"],
            (
                "--clients: expected networks, such as 192.0.2.0/24 or 2001:db8::/32, "
                "got '192.0.2.1/24'; did you mean 192.0.2.0/24, or 192.0.2.1?"
            ),
        ),
        (
            [*B, "--clients", "192.0.2.0/24,office"],
            "--clients: expected networks, such as 192.0.2.0/24 or 2001:db8::/32, got 'office'",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: Sequence[str], sentence: str) -> None:
    assert refusal(*arguments) == sentence


OUTSIDE = ["-i", "192.0.2.1"]


@pytest.mark.parametrize("networks", ["0.0.0.0/0", "::/0", "192.0.2.0/24,0.0.0.0/0"])
def test_networks_of_everybody_are_no_networks(networks: str) -> None:
    assert "the proxy would serve anyone" in refusal(*OUTSIDE, "--clients", networks)
    parse(*OUTSIDE, "--clients", networks, "--open")


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        ([], []),
        (AUTH, []),
        ([*AUTH, "--methods", "none"], [PASSWORD]),
        ([*AUTH, *A, "--methods", "none"], [PASSWORD]),
        ([*AUTH, *A, "--methods", "none", *A], []),
        ([*AUTH, *A, "--methods", "none", *A, "--methods", "password"], []),
    ],
)
def test_it_is_known_which_logins_nobody_asks_for(
    arguments: Sequence[str], unused: Sequence[Method]
) -> None:
    methods = [PASSWORD] if "--auth" in arguments else [NONE]
    assert parse(*arguments).unused(methods) == unused


ANY = "--auth TYPE:ARGS, so that users log in"
"""What is said where there are no logins."""

AS_OTHERS = "--methods password, so that users log in"

UNIX_HERE = ["--listen", "unix:/run/proxy.sock"]


@pytest.mark.parametrize(
    ("arguments", "place", "login"),
    [
        ([*B, "-i", "2001:db8::1"], "2001:db8::1,", ANY),
        ([*A, "--listen", "tcp:1081"], "tcp:1081,", ANY),
        ([*B, *CLIENTS, *OUTSIDE], "192.0.2.1,", ANY),
        (["--proxy-from", "127.0.0.1"], "127.0.0.1, for --proxy-from brings them in,", ANY),
        ([*B, "--proxy-from", "192.0.2.9"], "127.0.0.2, for --proxy-from", ANY),
        ([*UNIX_HERE, "--proxy-from", "127.0.0.1", *A], "unix:/run/proxy.sock, for", ANY),
        ([*AUTH, *OUTSIDE, "--methods", "none,password"], "192.0.2.1,", AS_OTHERS),
        ([*AUTH, "--methods", "none", *OUTSIDE], "192.0.2.1,", AS_OTHERS),
        ([*AUTH, *OUTSIDE, "--methods", "none", *B], "192.0.2.1,", AS_OTHERS),
        ([*AUTH, *B, *CLIENTS, *OUTSIDE, "--methods", "none"], "192.0.2.1,", AS_OTHERS),
    ],
)
def test_what_others_can_reach_needs_a_decision_whatever_other_listeners_have(
    arguments: Sequence[str], place: str, login: str
) -> None:
    sentence = refusal(*arguments)
    assert sentence.startswith(f"others than this machine could reach {place} ")
    assert all(advice in sentence for advice in (login, "--clients NETWORK", "--open"))
    parse(*arguments, "--open")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [*B, "-i", "::1"],
        UNIX_HERE,
        [*AUTH, *OUTSIDE],
        ["--proxy-from", "192.0.2.9", *CLIENTS],
        [*B, "--proxy-from", "192.0.2.9", *AUTH],
        [*OUTSIDE, *CLIENTS],
        [*CLIENTS, *OUTSIDE],
        [*OUTSIDE, *CLIENTS, *B],
        [*AUTH, *OUTSIDE, "--methods", "none", *CLIENTS],
        [*AUTH, *OUTSIDE, *B, "--methods", "none"],
    ],
)
def test_what_some_may_use_or_only_this_machine_reaches_is_served(arguments: list[str]) -> None:
    parse(*arguments)


def test_certificates_that_are_required_are_a_login_behind_a_balancer_too(tmp_path: Path) -> None:
    """Which is said to a listener for TLS alone. They are read for it."""
    pem = self_signed(tmp_path)
    tls = f"tls:1443:interface=127.0.0.1:cert={pem}"
    required, optional = (
        f"{tls}:clients={pem}:client-certificates={each}" for each in ("required", "optional")
    )
    options = parse("--listen", required, "--proxy-from", "127.0.0.1")
    [listener] = options.listeners(Clock())
    assert [each.files for each in certificates_of([listener])] == [listener.at.tls]
    sentence = refusal("--listen", optional, "--proxy-from", "127.0.0.1")
    assert sentence.startswith("others than this machine could reach ")
    hint = "clients=FILE in it, so that certificates are required; --clients"
    assert hint in refusal("--listen", f"tls:1443:cert={pem}")
    assert hint not in refusal(*OUTSIDE)


# ---------------------------------------------------------------- listening


def listeners(*arguments: str) -> list[Listener]:
    return parse(*arguments).listeners(Clock())


def test_an_operator_calls_a_listener_as_he_has_said() -> None:
    """Without one, it is the loopback, whose IPv6 may be missing."""
    found = listeners("--port", "7", *B, *CLIENTS)
    assert found == [
        Listener("127.0.0.2 port 7", Listen(TCP(7, "127.0.0.2"), None, ListenerPolicy(clients=NET)))
    ]
    [plain] = listeners(*A)
    assert plain == Listener(A[1], Listen(TCP(1, "127.0.0.1", 50)))
    assert listeners("--port", "7") == [
        Listener("127.0.0.1 port 7", Listen(TCP(7, "127.0.0.1"))),
        Listener("::1 port 7", Listen(TCP(7, "::1")), is_optional=True),
    ]
