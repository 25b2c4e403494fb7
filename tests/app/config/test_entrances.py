"""Listeners of a file: where they are, under which policy, and what is wrong with them."""

from typing import Any

import pytest

from socks5.app.inherit import Worker
from socks5.net.places import TCP, UNIX, Inherited, name_of
from socks5.protocol.messages import Method
from socks5.protocol.networks import Networks
from tests.app.config.files import Files
from tests.support.certificates import Authority


def test_listeners_are_where_and_what_the_file_says(files: Files) -> None:
    Authority(files.folder).server("proxy.pem")
    made = files.make("""\
[listener.office]
address = ["127.0.0.1", "::1"]
methods = ["none"]
clients = ["@office", "192.0.2.1"]
proxy_from = "10.0.0.1"
connections_per_client = 3
[listener.road]
address = "0.0.0.0"
port = 1443
tls = { cert = "proxy.pem", client_ca = "proxy.pem", client_name = "cn" }
[listener.machine]
unix = "proxy.sock"
mode = "660"
[listener.everybody]
unix = "all.sock"
[listener.other]
endpoint = "tcp:1082:interface=127.0.0.1"
[networks]
office = { entries = ["10.0.0.0/8"] }
""")
    names = [each.name.replace(str(files.folder), "") for each in made.listeners]
    assert names == [
        "127.0.0.1 port 1080 (listener office)",
        "::1 port 1080 (listener office)",
        "0.0.0.0 port 1443 (listener road)",
        "unix:/proxy.sock (listener machine)",
        "unix:/all.sock (listener everybody)",
        "tcp:1082:interface=127.0.0.1 (listener other)",
    ]
    office, _, road, machine, everybody, other = [each.at for each in made.listeners]
    assert office.policy.name == "office"
    assert office.policy.methods == (Method.NO_AUTHENTICATION,)
    assert office.policy.clients is not None
    assert office.policy.clients == Networks.parse("192.0.2.1,10.0.0.0/8")
    assert office.policy.connections_per_client == 3
    assert office.policy.proxies == Networks.parse("10.0.0.1")
    assert road.tls is not None
    assert (road.tls.cert, road.tls.key) == (f"{files.folder}/proxy.pem",) * 2
    assert (road.tls.names, road.tls.is_required) == (("cn",), True)
    assert made.listeners[2].certificates is not None
    assert machine.where == UNIX(f"{files.folder}/proxy.sock", 0o660)
    assert everybody.where == UNIX(f"{files.folder}/all.sock", 0o666)
    assert isinstance(other.where, TCP)


def test_what_everybody_could_use_is_refused(files: Files) -> None:
    end = 'clients = "NETWORK", so that only those networks come in; or open = true, if that is what you want'
    anybody = (
        "others than this machine could reach it, and the proxy would serve anyone. Choose one:"
    )
    listener = '[listener.a]\naddress = "0.0.0.0"\n'
    assert files.problems(listener) == [
        f"s.toml:1:1: listener.a: {anybody} an [auth.NAME], or [gssapi], so that users log in; {end}"
    ]
    assert files.problems(f"{listener}[auth]") == files.problems(listener)
    [only] = files.problems(f'{listener}[auth.b]\ntype = "fiel"')
    assert "auth.b.type: " in only
    auth = '[auth]\na = { type = "file", file = "users" }\n'
    [only] = files.problems(listener + auth)
    assert "auth.a.file: expected a file" in only, "and not also that nobody logs in"
    files.write("users", "alice:secret\n")
    assert files.problems(f'{listener}methods = ["none", "password"]\n{auth}') == [
        f's.toml:1:1: listener.a: {anybody} methods = "password", so that users log in; {end}'
    ]
    balanced = '[listener.a]\naddress = "127.0.0.1"\nproxy_from = "127.0.0.1"'
    assert "it, for proxy_from brings them in, and" in files.problems(balanced)[0]
    Authority(files.folder).server("p.pem")
    tls = 'tls = { cert = "p.pem"'
    assert (
        "; client_ca in its tls, so that certificates are required; clients"
        in files.problems(f"{listener}{tls} }}")[0]
    )
    optional = f'{listener}{tls}, client_ca = "p.pem", client_certificates = "optional" }}'
    assert len(files.problems(optional)) == 1
    assert len(files.problems(f'{listener}clients = "0.0.0.0/0"')) == 1
    for good in (
        f"{listener}open = true",
        f'{listener}clients = "10.0.0.0/8"',
        f"{listener}{auth}",
        f'{listener}{tls}, client_ca = "p.pem" }}',
    ):
        assert len(files.make(good).listeners) == 1


def test_what_cannot_be_listened_on_is_an_error(files: Files) -> None:
    assert files.problems(
        """\
[listener.a]
unix = "none/proxy.sock"
[listener.b]
endpoint = "haproxy:tcp:1"
[listener.c]
endpoint = "nothing:1"
[listener.d]
address = "::1"
tls = { cert = "none.pem" }
[listener.e]
systemd = "none"
[listener.f]
unix = "PATH"
""".replace("PATH", "f" * 107)
    ) == [
        "s.toml:2:8: listener.a.unix: expected a file in a folder that exists, got none/proxy.sock",
        (
            "s.toml:4:12: listener.b.endpoint: expected an endpoint without haproxy:, which believes the PROXY "
            "header of whoever connects; write proxy_from"
        ),
        "s.toml:6:12: listener.c.endpoint: expected a Twisted server endpoint: Unknown endpoint type: 'nothing'",
        (
            "s.toml:9:16: listener.d.tls.cert: cert=none.pem: No such file or directory; expected a PEM file that the "
            "proxy's user can read"
        ),
        "s.toml:11:11: listener.e.systemd: expected a socket that systemd hands to the service, got none called none",
        f"s.toml:13:8: listener.f.unix: expected a path of at most 107 octets, got {'f' * 107}",
    ]


SYSTEMD = (
    '[listener.a]\nsystemd = "web"\n[listener.b]\nendpoint = "systemd:domain=INET:name=other"\n'
)


def test_sockets_of_systemd_may_be_missing_where_nothing_is_opened(files: Files) -> None:
    made = files.make(SYSTEMD, is_only_looking=True)
    assert [each.at.where for each in made.listeners] == [
        Inherited("systemd:web:0"),
        Inherited("systemd:domain=INET:name=other"),
    ]


def test_all_sockets_of_a_name_that_systemd_hands_over_are_used(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def described(description: str) -> Inherited:
        number = int(description.rpartition("=")[2])
        if number == 3:
            raise ValueError("no such socket is inherited")
        return Inherited(description, 3 + number)

    monkeypatch.setenv("LISTEN_FDNAMES", "web:other:web:web")
    monkeypatch.setattr("socks5.app.config.entrances.where_of", described)
    listeners = files.make('[listener.a]\nsystemd = "web"\nopen = true').listeners
    found: list[Any] = [each.at.where for each in listeners]
    assert [(each.name, each.descriptor) for each in found] == [
        ("systemd:web:0", 3),
        ("systemd:web:1", 5),
    ]
    assert listeners[0].name == "systemd:web (listener a)"


def test_a_worker_has_the_sockets_of_its_parent(files: Files) -> None:
    names = ["systemd:web:0", "systemd:web:1", "systemd:domain=INET:name=other"]
    worker = Worker(1, 2, [name_of(Inherited(each)) for each in names], 1, 1, 1)
    made = files.make(SYSTEMD, worker=worker)
    assert [each.at.where for each in made.listeners] == [Inherited(each) for each in names]
