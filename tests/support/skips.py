"""What a skipped test is in CI: a failure, for there everything is installed."""

import os
from collections.abc import Generator
from importlib.util import find_spec

import pytest

SKIP_NOTHING = "TXSOCKS5_SKIP_NOTHING"
"""Set where nothing may be skipped unnoticed."""


def _needs(package: str, extra: str) -> pytest.MarkDecorator:
    """Skips a test where a package is not installed."""
    reason = f"{package} is not installed: pip install -e '.[{extra}]'"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


needs_asyncio_socks = _needs("asyncio_socks_server", "ci")
needs_gssapi = _needs("gssapi", "gssapi")
needs_httpx = _needs("httpx", "ci")
needs_pproxy = _needs("pproxy", "ci")
needs_scrapy = _needs("scrapy", "scrapy")
needs_treq = _needs("treq", "test")


def judge(report: pytest.TestReport) -> None:
    """Make a failure of a skipped test, with the same reason, where :data:`SKIP_NOTHING` is set."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(SKIP_NOTHING):
        assert isinstance(report.longrepr, tuple)
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr[2]}, and {SKIP_NOTHING} is set"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge every report."""
    report = yield
    judge(report)
    return report
