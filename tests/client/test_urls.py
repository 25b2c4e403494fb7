"""What the URL of a proxy says, and that no error repeats its login."""

import pytest

from socks5.client.urls import KINDS, Place, read


def socks(host: str, port: int = 1080, **how: bool) -> Place:
    return Place(how.get("http", False), how.get("tls", False), host, port)


PLACES = {
    "socks5://proxy.example": socks("proxy.example"),
    "socks5h://proxy.example:9": socks("proxy.example", 9),
    "SOCKS://Proxy.Example": socks("proxy.example"),
    "socks5s://proxy.example": socks("proxy.example", tls=True),
    "socks5+tls://proxy.example:1": socks("proxy.example", 1, tls=True),
    "http://proxy.example:8080/": socks("proxy.example", 8080, http=True),
    "https://proxy.example:443": socks("proxy.example", 443, http=True, tls=True),
    "socks5://192.0.2.1:65535": socks("192.0.2.1", 65535),
    "socks5://[2001:DB8::1]": socks("2001:db8::1"),
    "socks5://[2001:db8::1]:9": socks("2001:db8::1", 9),
    "socks5://[fe80::1%25eth0]:9": socks("fe80::1%eth0", 9),
    "socks5://my_proxy": socks("my_proxy"),
    "socks5://b%C3%BCcher.example": socks("xn--bcher-kva.example"),
    "socks5://localhost/run/tor/socks": Place(False, False, "", 0, "/run/tor/socks"),
    "socks5h://localhost/run/a%20b": Place(False, False, "", 0, "/run/a b"),
    f"socks5://localhost/{'a' * 106}": Place(False, False, "", 0, f"/{'a' * 106}"),
}


@pytest.mark.parametrize("url", PLACES)
def test_where_a_proxy_is(url: str) -> None:
    assert read(url) == (PLACES[url], None)


LOGINS = {
    "alice:secret@": (b"alice", b"secret"),
    "alice:@": (b"alice", b""),
    "alice@": (b"alice", b""),
    "a%3Ab:p%40w@": (b"a:b", b"p@w"),
    "a:b:c@": (b"a", b"b:c"),
    "a:b@c@": (b"a", b"b@c"),
    "%00:%ff@": (b"\0", b"\xff"),
    "ü:ü@": ("ü".encode(), "ü".encode()),
    "\udcfc:\udcff%ff@": (b"\xfc", b"\xff\xff"),
}


@pytest.mark.parametrize("userinfo", LOGINS)
def test_a_login(userinfo: str) -> None:
    assert read(f"socks5://{userinfo}192.0.2.1:9") == (socks("192.0.2.1", 9), LOGINS[userinfo])
    assert read(f"socks5://{userinfo}localhost/a")[1] == LOGINS[userinfo]


WRONG = {
    "alice:secret@proxy.example": KINDS,
    "secret": KINDS,
    "socks4://alice:secret@proxy.example": KINDS,
    "ftp://alice:secret@proxy.example": KINDS,
    "se cret://proxy.example": KINDS,
    "socks5://alice:secret@proxy.example?a": "query",
    "socks5://alice:sec#ret@proxy.example": "%23",
    "socks5://alice:sec/ret@proxy.example": "%2F",
    "socks5://alice:secret@proxy.example/path": "UNIX socket",
    "socks5://localhost:1080/path": "UNIX socket",
    "socks5s://localhost/path": "UNIX socket",
    f"socks5://localhost/{'a' * 107}": "107 octets",
    "http://localhost/path": "UNIX socket",
    "socks5://:secret@proxy.example": "user name",
    "socks5://@proxy.example": "user name",
    "socks5://alice:secret\ud800@proxy.example": "half a character",
    "http://alice:secret@proxy.example": "port",
    "socks5://alice:secret@proxy.example:0": "65535",
    "socks5://alice:secret@proxy.example:65536": "65535",
    "socks5://alice:secret@proxy.example:99999999": "65535",
    "socks5://alice:secret@proxy.example:": "HOST:PORT",
    "socks5://alice:secret@proxy.example:http": "HOST:PORT",
    "socks5://alice:secret@2001:db8::1": "IPv6 stands in []",
    "socks5://alice:secret@[2001:db8::1": "HOST:PORT",
    "socks5://alice:secret@[2001:db8::zz]": "address",
    "socks5://alice:secret@[2001:db8::1%25eth0]": "address",
    "socks5://alice:secret@": "host",
    "socks5://": "host",
    "socks5://alice:secret@a b": "host",
    "socks5://alice:secret@%ff": "host",
    "socks5://alice:secret@1.2.3.400": "host",
}


@pytest.mark.parametrize("url", WRONG)
def test_what_means_nothing(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read(url)
    assert WRONG[url] in str(caught.value)
    assert "secret" not in str(caught.value) + repr(caught.value.__cause__)
    assert "sec" not in str(caught.value).replace("secret", "")
