"""``files``: an empty folder for a file of settings, and what it names."""

from pathlib import Path

import pytest

from tests.app.config.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)
