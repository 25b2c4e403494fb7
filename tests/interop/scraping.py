"""A crawl as Scrapy does it, in a process of its own, for that process's reactor is Scrapy's choice. Its argument is a
list of URLs and proxies, as JSON; it prints what became of each, as a line of JSON.
"""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess

HANDLER = "socks5.client.scrapy.DownloadHandler"


class Pages(scrapy.Spider):
    """Asks for all of them at once."""

    name = "pages"

    async def start(self) -> AsyncIterator[Any]:
        for url, proxy in json.loads(sys.argv[1]):
            yield scrapy.Request(url, errback=self.failed, meta={"proxy": proxy}, dont_filter=True)

    def parse(self, response: Any, **kwargs: Any) -> None:
        say(response.request, response.text)

    def failed(self, failure: Any) -> None:
        say(failure.request, failure.type.__name__)


def say(request: Any, outcome: str) -> None:
    """What became of a request."""
    sys.stdout.write(json.dumps([request.url, request.meta["proxy"], outcome]) + "\n")


if __name__ == "__main__":
    crawl = CrawlerProcess({"DOWNLOAD_HANDLERS": {"http": HANDLER, "https": HANDLER}})
    crawl.crawl(Pages)
    crawl.start()
