"""A missing program skips a test."""

import pytest

from tests.interop.programs import require_program

MISSING = "a-program-that-nobody-has"


def test_the_first_that_is_installed_is_found() -> None:
    assert require_program(MISSING, "sh").endswith("/sh")


def test_a_missing_program_skips_with_its_name() -> None:
    with pytest.raises(pytest.skip.Exception, match=MISSING):
        require_program(MISSING)
