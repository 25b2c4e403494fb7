"""A crawler whose pages come through several proxies, in turn and at once.

    python examples/crawler.py http://www.example.org/ socks5://alice:secret@127.0.0.1:1080 socks5://127.0.0.1:1081

It follows the links of a page as far as they stay on its host, and prints what it got and by which proxy. It needs
Scrapy: ``pip install 'txsocks5[scrapy]'``.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response

HANDLER = "socks5.client.scrapy.DownloadHandler"


class Pages(Spider):
    """Begins at a page, with each of its requests through the next proxy."""

    name = "pages"

    def __init__(self, page: str, proxies: list[str]) -> None:
        super().__init__()
        self.page, self.proxies = page, cycle(proxies)
        self.allowed_domains = [str(urlsplit(page).hostname)]

    async def start(self) -> AsyncIterator[Any]:
        """The page itself."""
        yield Request(self.page, meta={"proxy": next(self.proxies)})

    def parse(self, response: Response, **kwargs: Any) -> Iterator[Request]:
        """A page has come."""
        print(response.status, response.url, "by", response.meta["proxy"])
        for link in response.css("a::attr(href)").getall():
            yield response.follow(link, meta={"proxy": next(self.proxies)})


if __name__ == "__main__":
    crawl = CrawlerProcess(
        {
            "DOWNLOAD_HANDLERS": {"http": HANDLER, "https": HANDLER},
            "HTTPPROXY_AUTH_ENCODING": "utf-8",
            "LOG_LEVEL": "WARNING",
            "TELNETCONSOLE_ENABLED": False,
        }
    )
    crawl.crawl(Pages, page=sys.argv[1], proxies=sys.argv[2:])
    crawl.start()
