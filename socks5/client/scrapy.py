"""Scrapy through SOCKS5 proxies: a download handler for ``meta["proxy"] = "socks5://alice:secret@proxy.example"``.

Requests without a proxy, and with one of another kind, are left to Scrapy's own handler. For the others there is a
second one of those, whose pool leads through the request's proxy. Of Scrapy's handler two attributes are used that are
not public, ``_pool`` and ``_contextFactory``; ``tests/sockets/test_scrapy_sockets.py`` tells if they change. Scrapy
itself is imported when a handler is made.
"""

from __future__ import annotations

import re
from base64 import b64decode
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import HTTPConnectionPool
from twisted.web.iweb import IPolicyForHTTPS

from socks5.client.endpoint import TIMEOUT, Proxy
from socks5.client.errors import ProxyAuthError
from socks5.client.hops import Hop
from socks5.client.urls import SOCKS_SCHEMES, read
from socks5.client.web import Endpoints, PoolView
from socks5.protocol.errors import SOCKSError
from socks5.protocol.messages import Credentials

if TYPE_CHECKING:
    import scrapy.crawler
    import scrapy.http

_LOGIN = b"Proxy-Authorization"

_PORT = re.compile(r":[0-9]+/?$")


class LoginRefused(SOCKSError):
    """A proxy has no method in common with us, or does not accept the login. Unlike
    :exc:`~socks5.client.errors.ProxyAuthError`, its cause, it is none of those that Scrapy tries again: each time might
    bring a ban nearer.
    """


class Passage:
    """The passage of a request through Scrapy's handler, which is not to see proxy and login: it would go to the proxy
    in its own way, and send the login to the server. They are hidden on the request itself, for others are shown that
    one, and have to be there again when it is tried again.
    """

    def __init__(self, request: scrapy.http.Request, proxy: Proxy) -> None:
        self.proxy = proxy
        self.is_open = False
        """Whether a connection was asked for; by then Scrapy has read what there is to read."""
        self._request = request
        self._url = request.meta.pop("proxy")
        self._logins = request.headers.getlist(_LOGIN)
        request.headers.pop(_LOGIN, None)
        self._is_hidden = True

    def open(self) -> Proxy:
        """The request wants a connection."""
        self.is_open = True
        self.end()
        return self.proxy

    def end(self) -> None:
        """Restore the request, once."""
        if self._is_hidden:
            self._is_hidden = False
            self._request.meta["proxy"] = self._url
            if self._logins:
                self._request.headers.setlist(_LOGIN, self._logins)


_PASSAGE: ContextVar[Passage | None] = ContextVar("_PASSAGE", default=None)
"""Of the request that this is about."""


class PassagePool:
    """The pool of Scrapy's handler, with ways through proxies: each request gets a connection through its own.

    :param policy: how servers are verified.
    """

    def __init__(self, pool: HTTPConnectionPool, policy: IPolicyForHTTPS) -> None:
        self._pool = pool
        self._policy = policy

    @property
    def persistent(self) -> bool:
        """Whether connections are kept."""
        return bool(self._pool.persistent)

    def getConnection(self, key: Any, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """See :meth:`twisted.web.client.HTTPConnectionPool.getConnection`.

        :param key: scheme, host, port, and what else Scrapy tells connections apart by.
        :param endpoint: leads there directly, and is not used.
        :raises RuntimeError: no request is under way.
        """
        passage = _PASSAGE.get()
        if passage is None:
            raise RuntimeError("a connection is wanted, and there is no request that has a proxy")
        proxy = passage.open()
        way = Endpoints(proxy, self._policy).lead_to(*key[:3])
        return PoolView(proxy, self._pool).getConnection(key, way)

    def closeCachedConnections(self) -> Deferred[None]:
        """See :meth:`twisted.web.client.HTTPConnectionPool.closeCachedConnections`."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing


def _basic(value: bytes) -> tuple[bytes, bytes]:
    """The login in a header.

    :raises ValueError: there is none.
    """
    scheme, _, coded = value.strip().partition(b" ")
    try:
        user, colon, password = b64decode(coded.strip(), validate=True).partition(b":")
    except ValueError:
        colon = b""
    if scheme.lower() != b"basic" or not colon:
        raise ValueError("Proxy-Authorization: expected Basic, user name and password")
    return user, password


@lru_cache(maxsize=1024)
def _hop_of(url: str, login: bytes | None) -> Hop:
    """A proxy; kept, for its TLS takes time to make.

    :param login: the value of Proxy-Authorization, where Scrapy has moved what the URL had.
    :raises ValueError: see :meth:`socks5.client.endpoint.Proxy.from_url`.
    """
    place, userinfo = read(url)
    if place.path:
        raise ValueError(f"{place.path}: a UNIX socket has no IP address, and Scrapy wants one")
    if place.host == "localhost" and not _PORT.search(url):
        raise ValueError(
            "socks5://localhost: write its port, such as localhost:1080; if this was a UNIX socket, Scrapy has dropped "
            "its path, and cannot use one, for it has no IP address"
        )
    found = userinfo if login is None else _basic(login)
    return Hop(place, None if found is None else Credentials(*found))


class DownloadHandler:
    """For ``DOWNLOAD_HANDLERS``, http and https. See ``docs/client.rst``.

    :raises scrapy.exceptions.NotConfigured: Scrapy runs without a reactor.
    """

    lazy = False

    def __init__(self, crawler: scrapy.crawler.Crawler) -> None:
        from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler

        handlers: list[Any] = [HTTP11DownloadHandler.from_crawler(crawler) for _ in range(2)]
        self._others, self._through = handlers
        self._through._pool = PassagePool(self._through._pool, self._through._contextFactory)
        self._bind_address = crawler.settings.get("DOWNLOAD_BIND_ADDRESS")
        from twisted.internet import reactor  # Scrapy has chosen it, and passes it on to nobody

        self._reactor = reactor

    @classmethod
    def from_crawler(cls, crawler: scrapy.crawler.Crawler) -> Self:
        """As Scrapy makes one."""
        return cls(crawler)

    async def download_request(self, request: scrapy.http.Request) -> scrapy.http.Response:
        """Get what a request asks for.

        :raises ValueError: its proxy means nothing; see :meth:`socks5.client.endpoint.Proxy.from_url`.
        :raises LoginRefused: the proxy does not accept the login.
        :raises Exception: whatever Scrapy's own raises, and :exc:`~socks5.client.errors.ClientError`.
        """
        scheme, is_url, _ = str(request.meta.get("proxy")).partition("://")
        if not is_url or scheme.lower() not in SOCKS_SCHEMES:
            response: scrapy.http.Response = await self._others.download_request(request)
            return response
        passage = Passage(request, self._proxy_of(request))
        _PASSAGE.set(passage)
        try:
            response = await self._through.download_request(request)
        except ProxyAuthError as error:
            raise LoginRefused(str(error)) from error
        finally:
            passage.end()
            _PASSAGE.set(None)
        if not passage.is_open:
            raise RuntimeError("this Scrapy has not asked for a connection through the proxy")
        return response

    def _proxy_of(self, request: scrapy.http.Request) -> Proxy:
        hop = _hop_of(request.meta["proxy"], request.headers.get(_LOGIN))
        timeout = request.meta.get("download_timeout") or TIMEOUT
        bind = request.meta.get("bindaddress") or self._bind_address
        return Proxy(self._reactor, (hop,), timeout, bind_address=bind)

    async def close(self) -> None:
        """Close the connections that are kept."""
        try:
            await self._others.close()
        finally:
            await self._through.close()
