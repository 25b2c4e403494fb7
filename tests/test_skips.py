"""A skipped test is a failure in CI."""

import pytest

from tests.support.skips import SKIP_NOTHING, judge


def skipped() -> pytest.TestReport:
    """What is reported of a test that was skipped."""
    reason = ("tests/test_x.py", 7, "Skipped: slapd is not installed")
    return pytest.TestReport("test_x", ("", None, ""), {}, "skipped", reason, "setup")


def test_where_nothing_may_be_skipped_it_fails_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SKIP_NOTHING, "1")
    judge(report := skipped())
    assert report.failed
    assert "slapd is not installed" in report.longreprtext


def test_elsewhere_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SKIP_NOTHING, raising=False)
    judge(report := skipped())
    assert report.skipped
