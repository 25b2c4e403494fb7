"""The checks of the project, each in an environment of its own: ``nox``, or ``nox -s NAME``.

``.ci/run`` runs the same sessions with ``--no-venv --no-install`` in the environment that it made, so a
command stands here only.
"""

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
TWISTED = next(each for each in PROJECT["dependencies"] if each.startswith("twisted"))
LOWEST = TWISTED.replace(">=", "==") + ".*"
LOWEST_SCRAPY = PROJECT["optional-dependencies"]["scrapy"][0].replace(">=", "==") + ".*"


WITHOUT_TWISTED = (
    "tests/protocol",
    "tests/test_benchmarks.py",
    "tests/test_benchmarks_growth.py",
    "tests/test_docs.py",
)
"""What another version of it cannot change."""

MEETS_A_REACTOR = (
    "tests/app",
    "tests/auth",
    "tests/net",
    "tests/policy/test_quotas.py",
    "tests/sockets",
    "tests/test_fakes.py",
)
"""The tests with a true one. Those that start the proxy as a process choose its reactor themselves."""


@nox.session
@nox.parametrize("twisted", [nox.param(LOWEST, id="lowest"), nox.param(TWISTED, id="latest")])
def tests(session: nox.Session, twisted: str) -> None:
    """Run the tests in random order; on the latest Twisted and Scrapy all of them, which have to reach every branch."""
    if twisted == LOWEST:
        session.install("--upgrade", "-e", ".[ci]", twisted, LOWEST_SCRAPY)
        ignored = [f"--ignore={each}" for each in ("tests/interop", *WITHOUT_TWISTED)]
        session.run("pytest", "-n", "auto", *ignored, *session.posargs)
        return
    session.install("--upgrade", "-e", ".[ci]", twisted)
    session.run("pytest", "-n", "auto", "--cov=socks5", *session.posargs)


@nox.session
def tests_asyncio(session: nox.Session) -> None:
    """Run the tests that meet a reactor on asyncio's: a process has one reactor, so this is its own run."""
    session.install("-e", ".[test]")
    others = "--ignore=tests/app/config"
    session.run(
        "pytest", "-n", "auto", "--reactor", "asyncio", others, *MEETS_A_REACTOR, *session.posargs
    )


@nox.session
def types(session: nox.Session) -> None:
    """Check the types: mypy, strict. Then the examples and what callers get, as a user of the package does: with
    a user's configuration, and from where the package is one that is installed.
    """
    session.install("-e", ".[dev]")
    session.run("mypy")
    with session.chdir("tests/typing"):
        session.run("mypy", ".", "../../examples")


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff as linter and as formatter; neither changes a file."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html; a warning is an error."""
    session.install("-e", ".[dev]")
    session.run("sphinx-build", "-W", "-n", "-q", "--keep-going", "docs", "docs/_build/html")


@nox.session
def examples(session: nox.Session) -> None:
    """Run the programs of examples/ as their test does."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests/test_examples.py", *session.posargs)


@nox.session
def news(session: nox.Session) -> None:
    """Draw up the next release's news; a fragment of an unknown type is an error."""
    session.install("-e", ".[dev]")
    session.run("towncrier", "build", "--draft", "--version", PROJECT["version"])


@nox.session
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, look into them, and try the plugin in a scratch environment."""
    session.install("build")
    session.run("python", ".ci/check_wheel.py")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure the proxy beside the peers that are installed: minutes, on a machine that does nothing else."""
    session.install("-e", ".", "asyncio-socks-server", "pproxy")
    session.run("python", "-m", "benchmarks", *session.posargs)
    session.run("python", "-m", "benchmarks.micro")
