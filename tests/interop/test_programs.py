"""A missing program skips a test here, and fails it in CI."""

import pytest

from tests.interop.programs import REQUIRE, require_program

MISSING = "a-program-that-nobody-has"


def test_the_first_that_is_installed_is_found() -> None:
    assert require_program(MISSING, "sh").endswith("/sh")


def test_a_missing_program_skips_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE, raising=False)
    with pytest.raises(pytest.skip.Exception, match=MISSING):
        require_program(MISSING)


def test_a_missing_program_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE, "1")
    with pytest.raises(pytest.fail.Exception, match=MISSING):
        require_program(MISSING)
