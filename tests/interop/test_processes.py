"""No program outlives the test that started it."""

from pathlib import Path

import pytest

from tests.interop.processes import environment, poll, run, running

FAMILY = ("sh", "-c", "sleep 60 & echo $!; wait")


def _is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended but was not asked for its status does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    with pytest.raises(pytest.fail.Exception, match="did not end within") as caught:
        run(*FAMILY, seconds=0.2)
    child = int("".join(filter(str.isdigit, caught.value.msg.partition(":")[2])))
    poll(lambda: not _is_alive(child), "the child ends")


def test_a_program_in_the_background_is_ended_with_its_children(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(*FAMILY, log=log) as process:
        child = int(poll(log.read_text, "the child begins"))
        assert _is_alive(child)
    assert process.returncode is not None
    poll(lambda: not _is_alive(child), "the child ends")


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY", "no_proxy"])
def test_nobodys_proxy_is_inherited(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "anything")
    assert name not in environment()
