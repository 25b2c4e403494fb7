"""A skipped test is a failure in CI."""

import pytest

from tests.support.skips import SKIP_NOTHING, judge


def test_where_nothing_may_be_skipped_it_fails_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reason = ("tests/test_x.py", 7, "Skipped: slapd is not installed")
    report = pytest.TestReport("test_x", ("", None, ""), {}, "skipped", reason, "setup")
    monkeypatch.delenv(SKIP_NOTHING, raising=False)
    judge(report)
    assert report.skipped
    monkeypatch.setenv(SKIP_NOTHING, "1")
    judge(report)
    assert report.failed
    assert "slapd is not installed" in report.longreprtext
