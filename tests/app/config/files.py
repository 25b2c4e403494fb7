"""A folder with a file of settings, for tests of what is made of it."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from socks5.app.config.build import Made, build
from socks5.app.config.building import Building
from socks5.app.config.document import Refused, load
from socks5.app.config.read import read
from socks5.app.config.ruling import limits, rules


class Files:
    """A folder with a file of settings, and what it names.

    :param folder: where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str, mode: int = 0o600) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def make(self, text: str, mode: int = 0o600, **others: Any) -> Made:
        self.write("s.toml", text, mode)
        return build(load(str(self.folder / "s.toml")), **others)

    def ruling(self, text: str) -> tuple[Any, Any]:
        """The rules and the limits of a file."""
        self.write("s.toml", text)
        document = load(str(self.folder / "s.toml"))
        configuration, building = read(document), Building(document)
        found = rules(configuration, building), limits(configuration, building, Clock())
        building.finish()
        return found

    def problems(self, text: str, mode: int = 0o600, **others: Any) -> list[str]:
        """What is wrong, without the folder."""
        with pytest.raises(Refused) as raised:
            self.make(text, mode, **others)
        return [self.short(each) for each in raised.value.problems]

    def warnings(self, text: str, **others: Any) -> list[str]:
        return [self.short(each) for each in self.make(text, **others).warnings]

    def short(self, problem: object) -> str:
        return str(problem).replace(f"{self.folder}/", "")
