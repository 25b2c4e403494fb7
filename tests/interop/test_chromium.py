"""A browser: a page and what belongs to it, all through the proxy."""

from pathlib import Path

from tests.interop.conftest import StartProxy
from tests.interop.processes import poll, succeed
from tests.interop.programs import require_program
from tests.interop.ruled import LOOPBACK_ONLY
from tests.interop.servers import Web

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--proxy-bypass-list=<-loopback>", "--dump-dom"),
)

PAGE = b"""<!DOCTYPE html><title>A page</title>
<link rel="stylesheet" href="/style.css">
<p id="words">The script did not run.</p><script src="/script.js"></script>
"""

SCRIPT = b"""
const request = new XMLHttpRequest();
request.open("GET", "/data.txt", false);
request.send();
const words = document.getElementById("words");
words.textContent = "The answer is " + request.responseText;
words.dataset.colour = getComputedStyle(words).color;
"""

PAGES = {
    "/page": ("text/html", PAGE),
    "/script.js": ("text/javascript", SCRIPT),
    "/style.css": ("text/css", b"p { color: rgb(1, 2, 3) }"),
    "/data.txt": ("text/plain", b"42"),
}


def test_a_page_with_everything(start_proxy: StartProxy, web: Web, tmp_path: Path) -> None:
    chromium = require_program("chromium", "chromium-browser", "google-chrome")
    # It asks for its maker's hosts too, whatever the options say: these are to get no answer.
    proxy = start_proxy(command=LOOPBACK_ONLY)
    web.pages.update(PAGES)
    place = (f"--user-data-dir={tmp_path / 'profile'}", f"--proxy-server=socks5://{proxy.url}")
    url = f"http://localhost:{web.port}/page"
    seen = succeed(chromium, *OPTIONS, *place, url, env={"HOME": str(tmp_path)}, seconds=60)
    assert b"The answer is 42" in seen
    assert b'data-colour="rgb(1, 2, 3)"' in seen
    assert {path for path, _ in web.requests} >= PAGES.keys()
    assert web.clients

    def bounds() -> set[str | None]:
        """Where the proxy's connections to the page's server came from, as it says."""
        return {each.bound for each in proxy.records if each.target == f"localhost:{web.port}"}

    poll(lambda: bounds() >= web.clients, "the access log has every connection")
