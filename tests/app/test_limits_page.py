"""docs/limits.rst: its file is one, and says what the page says of it."""

from pathlib import Path

from twisted.internet.task import Clock

from socks5.app.config.building import Building
from socks5.app.config.document import load
from socks5.app.config.read import read
from socks5.app.config.ruling import limits
from socks5.policy.limits import Limits
from tests.support.limited import asks, person
from tests.support.readme import blocks

PAGE = Path(__file__).parents[2] / "docs/limits.rst"
[FILE] = (block.text for block in blocks(PAGE.read_text()) if block.language == "toml")


def test_what_the_page_shows_limits(tmp_path: Path) -> None:
    path = tmp_path / "socks5.toml"
    path.write_text(FILE.replace("/var/lib/socks5", str(tmp_path)))
    document = load(str(path))
    building = Building(document)
    made = limits(read(document), building, Clock())
    building.finish()
    assert isinstance(made, Limits)
    assert list(made.names(asks())) == ["uplink"]
    alice = asks(user=person("alice"), listener="road")
    assert list(made.names(alice)) == ["uplink", "guests", "per-person"]
    made.open()
    leases = [made.enter(asks(listener="road")) for _ in range(51)]
    assert leases[-1] is None
    assert made.why(asks()) == "limit guests: 50 sessions"
