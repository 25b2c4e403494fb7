"""The benchmarks of growth and of extras: figures, tables and picture from given runs, and a short real run each."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import curves, extras, growth
from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.rows import ROWS
from tests.support.benchmarks import linux, measured, run

# ---------------------------------------------------------------- growth


def growth_run(cost: float, base: int = 2048, **parts: dict[str, Any]) -> dict[str, Any]:
    each = {name: run(cost) for name in growth.PARTS}
    return each | {"memory": run(cost) | {"base": base}} | parts


GROWTH: growth.Results = {
    OURS: {10: [growth_run(30), growth_run(40), growth_run(35)], 1000: [growth_run(36)]},
    "microsocks": {
        10: [growth_run(300, message={"failed": "2 faults, 9 done"})],
        1000: [{"failed": "it does not listen"}],
    },
}


def test_the_table_of_growth_says_what_is_not_measured_and_why() -> None:
    lines = growth.table(GROWTH)
    assert lines[:3] == [
        ["Cost", "Sessions", OURS, "microsocks"],
        ["Memory of a session, KiB", "10", "35.0 ±14%", "300"],
        ["Memory of a session, KiB", "1,000", "36.0", "not measured"],
    ]
    assert lines[3][2:] == ["35.0 ±14%", "not measured"]
    text = growth.rst(GROWTH, ["dante, which is not installed"], "Measured.")
    assert text.count("* -") == len(lines)
    for line in (
        f"- Memory before the first session: {OURS} 2.00 MiB; microsocks 2.00 MiB",
        "- Cores that something else had meanwhile: up to 0.00",
        "- Not measured: dante, which is not installed",
        "- Counts nowhere: microsocks, 10 sessions, message: 2 faults, 9 done",
        "- Counts nowhere: microsocks, 1,000 sessions, all: it does not listen",
    ):
        assert line in text.splitlines()


def test_so_many_sessions_are_measured_as_files_and_memory_allow() -> None:
    assert growth.fitting(10_000, 20_000) == 9_900
    assert growth.fitting(10_000, 24_000) == 10_000
    dante = CONTENDERS["dante"]
    assert not growth.takes_part(dante, 10_000, 4e6)
    assert growth.takes_part(dante, 10_000, 9e6)
    assert growth.takes_part(CONTENDERS[OURS], 10_000, 1e6)


def test_what_was_counted_with_faults_has_no_price() -> None:
    counted = {"done": 1000, "seconds": 2.0, "cpu": 0.1, "faults": 0}
    assert growth.part("message", counted)["cost"] == pytest.approx(100)
    assert "failed" in growth.part("message", counted | {"faults": 1})
    assert "failed" in growth.part("message", counted | {"done": 0})


def test_the_curves_have_a_mark_for_each_figure_above_nothing() -> None:
    panels = {
        ("near", "µs"): {OURS: {10: 30.0, 1000: 36.0}, "dante": {10: 60.0, 1000: 36.5}},
        ("far", "KiB"): {OURS: {10: 0.0, 1000: 1.5}, "dante": {10: 400.0}},
        ("none", "KiB"): {OURS: {}, "dante": {10: -1.0}},
    }
    root = ElementTree.fromstring(curves.svg(panels, [OURS, "dante"], "a < b"))
    space = "{http://www.w3.org/2000/svg}"
    titles = [each.text for each in root.iter(f"{space}title")]
    assert len(titles) == 6 + 2  # and those of the legend
    assert f"{OURS}, 1,000 sessions: 36.0" in titles
    texts = list(root.iter(f"{space}text"))
    ends = [each for each in texts if each.text in ("36.0", "36.5", "1.50", "400")]
    assert len(ends) == 4
    one, other = (float(each.attrib["y"]) for each in ends[:2])
    assert abs(one - other) >= curves.LABEL


def test_labels_are_spread_within_the_panel() -> None:
    bottom = curves.TOP + curves.HEIGHT
    places = curves.spread([bottom, bottom - 1, curves.TOP, bottom - 2])
    assert sorted(places) == [
        *(curves.TOP, bottom - 2 * curves.LABEL, bottom - curves.LABEL, bottom)
    ]


def test_axes_enclose_what_is_on_them() -> None:
    for high, expected in ((45.0, [0, 10, 20, 30, 40, 50]), (868.0, [0, 200, 400, 600, 800, 1000])):
        assert curves.ticks(high) == expected
    assert curves.powers(0.4, 303.0) == pytest.approx([0.1, 1, 10, 100, 1000])


@linux
def test_growth_is_measured_with_one_worker_and_with_two(tmp_path: Path) -> None:
    words = ["--rounds", "1", "--sessions", "20", "--peers", "", "--plot", "growth.svg"]
    found, output = measured(tmp_path, "growth", *words)
    for name in (OURS, growth.WITH_WORKERS):
        [each] = found[name]["20"]
        assert each["memory"]["done"] == 20
        assert each["message"]["done"] > 20
        assert each["connection"]["done"] > 0
    assert growth.WITH_WORKERS in output
    assert ElementTree.parse(tmp_path / "growth.svg").getroot().tag.endswith("svg")


# ---------------------------------------------------------------- extras


def test_what_an_extra_adds_is_the_median_of_the_differences_within_rounds() -> None:
    without = [run(100), run(200), run(150), {"failed": "it does not listen"}, run(100, others=0.9)]
    having = [run(110), run(230), run(155), run(500), run(900)]
    found = extras.difference(without, having)
    assert found is not None
    assert (found.cost, found.adds, found.least, found.most, found.pairs) == (155, 10, 5, 30, 3)
    assert found.part == pytest.approx(0.1)
    assert extras.difference(without[3:4], having[3:4]) is None


def test_the_table_of_extras_has_a_line_for_each_and_says_what_failed() -> None:
    results = {
        "connrate": {"plain": [run(100), run(200)], "log": [run(112), run(220)]},
        "ping1": {"plain": [run(50)], "tls": [{"failed": "3 faults, 7 done"}]},
    }
    lines = extras.table(results)
    assert lines[1][2:] == ["150", "-", "-", "-", "-", "2"]
    assert lines[2][:7] == [*("connrate, µs", "access log", "166", "16.0", "12.0", "20.0", "11.0")]
    assert lines[4][2:] == [*["not measured"] * 5, "0"]
    text = extras.rst(results, "Measured.")
    assert text.count("* -") == len(lines)
    assert "- Counts nowhere: ping1, TLS 1.3: 3 faults, 7 done" in text


def test_every_round_begins_with_another_extra_and_has_what_each_is_compared_with() -> None:
    chosen = extras.chosen(["rule", "tls"])
    assert [each.name for each in chosen] == ["plain", "program", "rule", "tls"]
    orders = [
        [(row.name, each.name) for row, each in extras.tasks([*ROWS.values()], chosen, turn)]
        for turn in range(2)
    ]
    assert orders[0][:2] == [("connrate", "plain"), ("connrate", "program")]
    assert orders[1][:2] == [("connrate", "program"), ("connrate", "rule")]
    assert sorted(orders[0]) == sorted(orders[1])
    for each in extras.EXTRAS.values():
        assert not each.beside or set(each.rows) <= set(extras.EXTRAS[each.beside].rows)


@linux
def test_extras_are_measured_beside_the_proxy_without_them(tmp_path: Path) -> None:
    words = ["--rounds", "1", "--rows", "connrate", "--extras", "users,rule,tls"]
    found, output = measured(tmp_path, "extras", *words)
    assert found.keys() == {"connrate"}
    assert found["connrate"].keys() >= {"plain", "users", "program", "rule"}
    assert all(runs[0]["done"] > 0 for runs in found["connrate"].values())
    assert "login by password" in output
