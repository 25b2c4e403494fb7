"""The benchmarks work: figures, tables and picture from given runs, and one tiny real run."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as program
from benchmarks import (
    micro,
    nameserver,
    neighbours,
    plot,
    private,
    processes,
    report,
    runs,
    waits,
)
from benchmarks.bullying import BULLIES
from benchmarks.contenders import CONTENDERS, OURS, Contender
from benchmarks.loads import LOADS
from benchmarks.rows import ROWS
from tests.support.benchmarks import linux, measured, run

RESULTS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "connrate": {
        OURS: [run(100), run(140), run(120)],
        "microsocks": [run(200), run(240), run(160)],
        "dante": [run(300), {"failed": "it does not listen"}],
    },
    "udp-gso": {OURS: [run(2.0)]},
    "udp-plain": {OURS: [run(10.0)]},
    "idle": {OURS: [run(1.5)], "pproxy": [{"failed": "it does not listen"}]},
}
FIGURES = report.figures(RESULTS)
NAMES = [OURS, "microsocks", "dante", "pproxy"]


# ---------------------------------------------------------------- figures


def test_a_figure_is_the_median_of_calm_runs_with_its_spread() -> None:
    """One that was disturbed counts where there are no others."""
    disturbed = run(500, others=0.9)
    for some, cost, spread, others in (
        ([run(100), run(140), run(110)], 110, pytest.approx(20 / 110), 0.0),
        ([run(100), disturbed, disturbed], 100, None, 0.0),
        ([disturbed], 500, None, 0.9),
    ):
        found = report.figure(some)
        assert found is not None
        assert (found.cost, found.spread, found.others) == (cost, spread, others)


def test_failed_runs_give_no_figure_and_the_best_peer_is_that_of_the_row_or_beside_it() -> None:
    assert report.figure([{"failed": "it does not listen"}]) is None
    assert FIGURES["idle"].keys() == {OURS}
    assert FIGURES["connrate"]["dante"].cost == 300
    for row, among, expected in (
        ("connrate", FIGURES, ("microsocks", 200)),
        ("idle", FIGURES, ("", 0.0)),
        ("udp-gso", FIGURES, ("udp-plain", 10)),
        ("udp-gso", {"udp-gso": FIGURES["udp-gso"]}, ("", 0.0)),
    ):
        assert report.reference(ROWS[row], among) == expected


def test_what_was_counted_has_a_price() -> None:
    for counted, row, expected in (
        ({"done": 1000, "seconds": 2.0, "cpu": 0.1}, "ping1", (100.0, 500.0)),
        ({"done": 10**9, "seconds": 2.0, "cpu": 0.5}, "down1", (0.5, 4.0)),
        ({"done": 2000, "seconds": 9.0, "cpu": 9.0, "kib": 3000}, "idle", (1.5, 2000.0)),
    ):
        priced = runs.priced(ROWS[row], counted | {"faults": 0})
        assert (priced["cost"], priced["rate"]) == pytest.approx(expected)
    with pytest.raises(runs.RunFailed, match="nothing was done, 3 faults"):
        runs.priced(ROWS["ping1"], {"done": 0, "faults": 3, "seconds": 1.0, "cpu": 0.0})


# ---------------------------------------------------------------- tables and picture


def test_the_table_of_costs_has_the_ratios() -> None:
    head, _, connrate, gso, plain, idle = report.cost_table(FIGURES, NAMES).splitlines()
    assert head.split()[:3] == ["cost", "unit", OURS]
    assert connrate.split() == [
        *("connrate", "µs/connection", "120", "±17%", "200", "±20%", "300", "-"),
        *("0.60", "microsocks", "0.00"),
    ]
    assert gso.split()[-3:] == ["0.20", "udp-plain", "0.00"]
    assert plain.split()[-3:] == idle.split()[-3:] == ["-", "-", "0.00"]


def test_the_summary_names_what_is_missing_and_what_failed() -> None:
    text = program.summary(RESULTS, {"commit": "abc"}, ["pproxy"])
    assert "not installed: pproxy" in text
    assert "failed: connrate, dante: it does not listen" in text


def test_the_picture_has_a_bar_for_each_figure() -> None:
    picture = plot.svg(FIGURES, NAMES, "a < b")
    root = ElementTree.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    bars = [each for each in root.iter(f"{space}rect") if each.find(f"{space}title") is not None]
    assert len(bars) == 5  # udp-plain is what udp-gso is measured with
    assert all(float(each.attrib["width"]) > 0 for each in bars)
    texts = {each.text for each in root.iter(f"{space}text")}
    assert {"a < b", "120 (0.60x)", "2.00 (0.20x)", "microsocks"} <= {
        " ".join((text or "").split()) for text in texts
    }


# ---------------------------------------------------------------- choices


def test_every_row_has_its_load_and_comes_in_order_with_those_it_is_compared_with() -> None:
    assert {row.load for row in ROWS.values()} == LOADS.keys() | {"idle"}
    assert {row.beside for row in ROWS.values()} <= {"", *ROWS}
    names = [row.name for row in program.chosen_rows(["udp-gso", "ping1"], is_big=True)]
    assert names == ["ping1", "udp-gso", "udp-plain", "idle10k"]
    assert "idle10k" not in [row.name for row in program.chosen_rows(None, is_big=False)]
    names = [each.name for each in neighbours.chosen(["storm", "passwords"])]
    assert names == ["alone", "alone-logins", "storm", "passwords"]


def test_nobody_is_asked_for_what_it_cannot_do() -> None:
    assert not CONTENDERS["microsocks"].takes_part_in(ROWS["udp1"])
    assert not CONTENDERS["dante"].takes_part_in(ROWS["idle10k"])
    assert all(CONTENDERS[OURS].takes_part_in(row) for row in ROWS.values())
    assert not neighbours.takes_part_in(CONTENDERS["microsocks"], BULLIES["passwords"])
    assert all(neighbours.takes_part_in(CONTENDERS[OURS], each) for each in BULLIES.values())


# ---------------------------------------------------------------- real ones


@linux
def test_a_process_and_its_children_are_one_family() -> None:
    command = ["sh", "-c", "sleep 60 & wait"]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            while len(processes.family(process.pid)) < 2:
                assert process.poll() is None
            assert processes.cpu_seconds(process.pid) >= 0
            assert processes.memory_kib(process.pid) > 0
        finally:
            processes.end(process)
    assert processes.family(process.pid, with_dead=False) == {}


@linux
def test_a_proxy_that_ends_at_once_is_a_failed_run(tmp_path: Path) -> None:
    broken = Contender("broken", ("-c", "echo no such option; exit 2"), program="sh")
    result = runs.one(ROWS["ping1"], broken, 0.1, tmp_path, ({}, 0))
    assert result == {"failed": "it does not listen: no such option"}


@linux
def test_one_command_measures_writes_and_draws(tmp_path: Path) -> None:
    words = ["--rounds", "1", "--rows", "udp1", "--peers", "", "--plot", "costs.svg"]
    found, output = measured(tmp_path, *words)
    assert found["udp1"][OURS][0]["done"] > 0
    assert "udp1" in output
    assert ElementTree.parse(tmp_path / "costs.svg").getroot().tag.endswith("svg")


def test_every_part_can_be_timed() -> None:
    for operation in micro.OPERATIONS.values():
        assert micro.microseconds(operation, 0.001) > 0


@linux
def test_a_connection_of_a_client_is_compared_with_one_by_hand() -> None:
    words = [sys.executable, "-m", "benchmarks.through", "--connections", "3", "--rounds", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert re.fullmatch(r"by hand \d+ µs, ours \d+ µs, \d+\.\d\d\n", done.stdout)


@linux
def test_nothing_is_left_of_hundreds_of_failures() -> None:
    words = [sys.executable, "-m", "benchmarks.failing", "--rounds", "300"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    lines = done.stdout.splitlines()
    for line, name in zip(lines, ("client", "upstream"), strict=True):
        pattern = rf"{name}: 300 failures in \d+\.\d s, \+0 files, [+-]\d+ blocks of memory"
        assert re.fullmatch(pattern, line)


# ---------------------------------------------------------------- neighbours


def waited(*seconds: float, failures: int = 0) -> dict[str, Any]:
    return {"seconds": sorted(seconds), "failures": {"reply 4": failures} if failures else {}}


def neighbour_run(**kinds: dict[str, Any]) -> dict[str, Any]:
    return {"waits": kinds, "cpu": 0.5, "others": 0.0}


NEIGHBOUR_RUNS = {
    "alone": neighbour_run(session=waited(*[0.004] * 99, 0.008), datagram=waited(0.001)),
    "alone-logins": neighbour_run(session=waited(0.01), login=waited(0.06)),
    "silent": neighbour_run(session=waited(0.023), datagram=waited(0.021)),
    "storm": neighbour_run(session=waited(0.09, failures=2), datagram=waited(0.11)),
    "passwords": neighbour_run(session=waited(0.02), login=waited(0.2)),
    "tls-begun": {"failed": "it does not listen"},
}


def a_query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    counts = b"\x01\x00" + b"\x00\x01" + bytes(6)
    return b"id" + counts + labels + b"\x00" + kind.to_bytes(2, "big") + b"\x00\x01"


def test_a_name_says_how_it_is_answered() -> None:
    for name, kind, code, addresses in (
        ("a.quick.test", 1, 0, 1),
        ("a.quick.test", 28, 0, 0),
        ("a.none.test", 1, 3, 0),
        ("a.unknown.test", 1, 3, 0),
        ("a.many.test", 1, 0, nameserver.ADDRESSES),
        ("a.chain.test", 1, 0, nameserver.CHAIN + 1),
    ):
        found = nameserver.answer(a_query(name, kind), 65535)
        assert (found[:2], found[3] & 15) == (b"id", code)
        assert int.from_bytes(found[6:8], "big") == addresses


def test_the_table_of_neighbours_says_what_was_missed() -> None:
    lines = waits.rows(NEIGHBOUR_RUNS)
    assert len({len(line) for line in [waits.HEAD, *lines]}) == 1
    assert [line[-1] for line in lines] == [
        *("yes", "yes", "yes", "datagrams over 20.0", "failures, datagrams over 100"),
        *("yes", "yes", "it does not listen"),
    ]
    assert lines[4][1:6] == ["2", "90.0", "90.0", "110", "110"]
    assert waits.rst(NEIGHBOUR_RUNS).count("* -") == len(lines) + 1
    text = waits.summary({OURS: NEIGHBOUR_RUNS}, {"commit": "abc"})
    assert "commit: abc" in text
    assert "2 of 3 failed {'reply 4': 2}" in waits.line(NEIGHBOUR_RUNS["storm"])


@linux
def test_a_neighbour_is_measured_beside_a_bully(tmp_path: Path) -> None:
    if objection := private.objection():
        pytest.skip(f"no private namespaces here: {objection}")
    found, _ = measured(tmp_path, "neighbours", "--bullies", "alone")
    counts = {kind: len(each["seconds"]) for kind, each in found[OURS]["alone"]["waits"].items()}
    assert counts == {"datagram": 10, "session": 10}


def test_where_there_are_no_private_namespaces_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(private, "objection", lambda: "it needs unshare")
    assert program.main(["neighbours"]) == 0
    assert "left out, no private namespaces here: it needs unshare" in capsys.readouterr().err
