"""What tells that a file is another one than before."""

import os
from pathlib import Path

from socks5.stamps import Stamp


def test_a_file_that_stays_has_one_stamp_and_each_change_gives_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert Stamp.of(str(path)) is None
    path.write_text("one")
    stamps = [Stamp.of(str(path))]
    assert Stamp.of(str(path)) == stamps[0]
    path.write_text("other")
    stamps.append(Stamp.of(str(path)))
    os.utime(path, ns=(1, 1))
    stamps.append(Stamp.of(str(path)))
    other = tmp_path / "another"
    other.write_text("other")
    os.utime(other, ns=(1, 1))
    other.replace(path)
    stamps.append(Stamp.of(str(path)))
    assert len({*stamps}) == 4


def test_it_is_about_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert Stamp.of(str(tmp_path / "link")) == Stamp.of(str(tmp_path / "file"))
