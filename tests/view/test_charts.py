import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.view.charts import Axis, bar_chart, line_chart, ticks
from neuroconn.view.recorder import ChunkTimes
from neuroconn.view.report_curves import time_unit, times_chart

SVG = "{http://www.w3.org/2000/svg}"
HEAD = '<svg xmlns="http://www.w3.org/2000/svg"'


def parsed(chart: str) -> ET.Element:
    return ET.fromstring(chart.replace("<svg", HEAD, 1))


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(bottom: float, span: float, wanted: int) -> None:
    top = bottom + span
    if top - bottom < 1e-9 * max(abs(top), abs(bottom)):
        return  # no room between the two in a float

    found = ticks(bottom, top, wanted)

    assert len(found) <= wanted + 1
    slack = 1e-6 * max(abs(top), abs(bottom), span)
    assert all(bottom - slack <= tick <= top + slack for tick in found)
    assert found == sorted(set(found))


def test_a_line_chart_has_labels_ticks_and_its_pieces() -> None:
    pieces = [[(0.0, 0.0), (5.0, 10.0)], [(6.0, 4.0), (10.0, 8.0)]]

    chart = parsed(
        line_chart(
            "Speed & <time>",
            Axis("h", 10),
            Axis("chunks/s", 10),
            [("rate", pieces)],
            marks=[(5.5, "x")],
        )
    )

    words = [text.text for text in chart.iter(f"{SVG}text")]
    assert {"Speed & <time>", "h", "chunks/s", "0", "10"} <= set(words)
    paths = [path.get("d") or "" for path in chart.iter(f"{SVG}path")]
    assert len(paths) == 2
    first, last = (float(p.split()[0]) for p in paths[0].lstrip("M").split("L"))
    assert first < last
    assert chart.get("aria-label") == "Speed & <time>"


def test_what_leaves_the_axes_stays_in_the_picture() -> None:
    chart = parsed(line_chart("t", Axis("x", 1), Axis("y", 1), [("rate", [[(-5, 9), (7, -3)]])]))

    width, height = map(float, (chart.get("viewBox") or "").split()[2:])
    (path,) = (p.get("d") or "" for p in chart.iter(f"{SVG}path"))
    for point in path.lstrip("M").split("L"):
        x, y = map(float, point.split())
        assert 0 <= x <= width
        assert 0 <= y <= height


def test_bars_are_as_high_as_their_values() -> None:
    chart = parsed(bar_chart("t", ["0", "1", "2"], [10, 5], "s", "chunks", "rate"))

    tall, half = (float(r.get("height") or 0) for r in chart.iter(f"{SVG}rect"))

    assert tall == pytest.approx(2 * half, abs=0.2)


def test_times_are_shown_from_the_first_class_used_to_the_last() -> None:
    times = ChunkTimes()
    for seconds in (0.3, 0.4, 3.0):
        times.add((0, 0, 0), seconds)

    bars = list(parsed(times_chart(times)).iter(f"{SVG}rect"))

    assert [(bar[0].text or "").split(": ") for bar in bars] == [
        ["0.2 to 0.5", "2"],
        ["0.5 to 1", "0"],
        ["1 to 2", "0"],
        ["2 to 5", "1"],
    ]
    assert times_chart(ChunkTimes()) == ""


@pytest.mark.parametrize(("seconds", "unit"), [(10, "s"), (3600, "min"), (86400, "h")])
def test_time_has_a_unit_that_suits(seconds: float, unit: str) -> None:
    assert time_unit(seconds)[0] == unit
