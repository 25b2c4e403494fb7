"""What is an address, what is a name, and in which form it is asked for."""

import re
import socket
import subprocess
import sys
from typing import Any

import idna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import DNSLookupError

from socks5.names import hostname, literal

# ---------------------------------------------------------------- literals


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"::1", "::1"),
        (b"2001:DB8:0:0::0001", "2001:db8::1"),
        (b"::FFFF:192.0.2.1", "192.0.2.1"),
        (b"0:0:0:0:0:ffff:c000:0201", "192.0.2.1"),
        (b"::192.0.2.1", "::192.0.2.1"),
        (b"64:ff9b::c000:201", "64:ff9b::c000:201"),
        # as HTTP libraries send what stands in a URL
        (b"[::1]", "::1"),
        (b"[::ffff:192.0.2.1]", "192.0.2.1"),
        (b"[fe80::1%lo]", "fe80::1%lo"),
        # as the system's resolver reads IPv4
        (b"127.1", "127.0.0.1"),
        (b"192.0.2", "192.0.0.2"),
        (b"192.0.2.01", "192.0.2.1"),
        (b"0x7f.0.0.1", "127.0.0.1"),
        (b"0X7F.1", "127.0.0.1"),
        (b"0177.0.0.1", "127.0.0.1"),
        (b"2130706433", "127.0.0.1"),
    ],
)
def test_a_literal_has_one_canonical_text(name: bytes, host: str) -> None:
    assert literal(name) == host
    if b":" not in name:
        assert socket.getaddrinfo(name, 80, socket.AF_INET)[0][4][0] == host


@pytest.mark.parametrize("name", [b"192.0.2.1.", b"3221225985.", b"0xc0.0.2.1."])
def test_a_dot_behind_an_address_makes_no_name_of_it(name: bytes) -> None:
    """The URL Standard's "ends in a number checker"."""
    assert literal(name) == "192.0.2.1"


def test_a_link_local_address_may_have_a_zone_that_is_there() -> None:
    number = str(socket.if_nametoindex("lo")).encode()
    assert literal(b"fe80::1%lo") == literal(b"FE80::1%" + number) == "fe80::1%lo"


@pytest.mark.parametrize(
    "name",
    [
        *(b"", b"example.org", b"example.1", b"a192.0.2.1", b":::", b"\xff\xfe"),
        *(b"192.0.2.1..", b"192.0.2.256", b"192.0.2.1:80", b"08.0.0.1"),
        *(b" 192.0.2.1", b"192.0.2.1 ", b"192.0.2.1\0", b"192.0.2.1\n1"),
        *(b"[192.0.2.1]", b"[::1", b"::1]", b"[[::1]]", b"[]"),
        *(b"::1%lo", b"2001:db8::1%lo"),
        *(b"fe80::1%", b"fe80::1%no-such-one", b"fe80::1%99999", b"fe80::1%-1"),
        *(b"fe80::1%" + b"9" * 40, b"fe80::1%l\0"),
        "\uff11\uff12\uff17.0.0.1".encode(),  # digits, but not ASCII's
    ],
)
def test_all_else_is_a_name(name: bytes) -> None:
    assert literal(name) is None


@given(st.ip_addresses())
def test_every_address_is_a_literal(host: Any) -> None:
    text = literal(str(host).encode())
    assert text == literal(str(host.exploded).upper().encode())
    mapped = host.ipv4_mapped if host.version == 6 else None
    assert text is not None
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    assert socket.inet_pton(family, text) == (mapped or host).packed


# ---------------------------------------------------------------- host names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Example.ORG", "example.org"),
        *((plain, plain) for plain in ("example.org.", "1.2.3.4.example", "0xg")),
        ("_service._tcp.example.org", "_service._tcp.example.org"),
        *((most, most) for most in ("a" * 63 + ".example", ".".join(["a" * 61] * 4) + ".bcde")),
        # what is in IDNA form: whoever put it into that has judged it
        *((form, form) for form in ("xn--fa-hia.de", "xn--ls8h.la", "xn--a.example")),
        # what is put into it
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("bücher.example.", "xn--bcher-kva.example."),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("\uff25\uff38ample.org", "example.org"),
        ("_dienst._tcp.bücher.example", "_dienst._tcp.xn--bcher-kva.example"),
        ("בית.example", "xn--5dbq5c.example"),
        # the deviation characters of UTS #46, which IDNA 2003 took for another owner's host
        ("FAß.DE", "xn--fa-hia.de"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com", "xn--mgba3gch31f060k.com"),
        ("ශ්\u200dරී.com", "xn--10cl1a0b660p.com"),
        # symbols that browsers ask for, though IDNA 2008 does not have them
        ("💩.la", "xn--ls8h.la"),
        ("I❤.ws", "xn--i-7iq.ws"),
        ("☃.net", "xn--n3h.net"),
    ],
)
def test_a_name_is_asked_for_in_this_form(name: str, text: str) -> None:
    assert hostname(name.encode()) == text


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", ".example.org", "example..org"),
        *("a" * 64 + ".example", ".".join(["a" * 63] * 4), "ü" * 60 + ".example"),
        *("exa mple.org", "example.org\n", "example.org\0", "example.org:80", "user@example.org"),
        *("[::1", "fe80::1%no-such-one", "192.0.2.256", "192.0.2.1.", "example.0x1"),
        *("\uff11\uff12\uff17.0.0.1", "a\u2025b.example", "\ufffd.example", "\u0301a.example"),
        *("1א.example", "a\u200cb.example", "👩\u200d👩.example", "\u00ad.example"),
        *(b"\xff\xfe", b"example\xff.org"),
    ],
)
def test_what_cannot_be_a_name_is_none(name: str | bytes) -> None:
    for _ in range(2):  # remembered or not
        with pytest.raises(DNSLookupError):
            hostname(name if isinstance(name, bytes) else name.encode())


@given(st.binary(max_size=255) | st.text(max_size=80).map(str.encode))
def test_whatever_a_client_sends_is_a_name_or_an_error(name: bytes) -> None:
    try:
        text = hostname(name)
    except DNSLookupError:
        return
    assert re.fullmatch(r"[^\s\x00-\x20A-Z]+", text, re.ASCII)
    assert text.isascii()
    assert 1 <= len(text) <= 253
    assert all(1 <= len(label) <= 63 for label in text.removesuffix(".").split("."))


def test_a_converted_name_is_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "einmalig-ü.example".encode()
    text = hostname(name)
    monkeypatch.setattr(idna, "uts46_remap", lambda *_, **__: pytest.fail("again"))
    assert hostname(name) == text


def test_plain_names_need_no_tables() -> None:
    """Those of IDNA take 50 ms to load, and memory."""
    source = (
        "import sys; from socks5.names import hostname; hostname(b'example.org');"
        "assert 'idna.uts46data' not in sys.modules; hostname('\u00fc.example'.encode());"
        "assert 'idna.uts46data' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", source], check=True)
