import heapq
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.inference.watching.outlook import Eta, Forecast, Outlook, Pace
from neuroconn.inference.watching.trail import Trail

Cell = tuple[int, int, int]
SIDE = 48


def neurons(rng: random.Random) -> tuple[dict[Cell, set[Cell]], list[Cell]]:
    """Cells that random branching walks run through, with the neighbours they lead to; seeds."""
    leads: dict[Cell, set[Cell]] = {}
    seeds: list[Cell] = []
    share, branching = rng.choice([0.1, 0.4, 1.0]), rng.choice([0.0, 0.01, 0.03])
    for _ in range(rng.randint(1, 30)):
        root = [rng.uniform(4, SIDE - 4) for _ in range(3)]
        if not seeds or rng.random() < share:
            seeds.append(cell(root))
        tips = [(root, direction(rng))]
        for _ in range(int(rng.lognormvariate(5, 0.8))):
            i = rng.randrange(len(tips))
            here, heading = tips[i]
            there = [p + 0.5 * h for p, h in zip(here, heading, strict=True)]
            if not all(0 <= p < SIDE for p in there):
                break
            a, b = cell(here), cell(there)
            leads.setdefault(a, set()).add(b)
            leads.setdefault(b, set()).add(a)
            if rng.random() < 0.3:  # evidence at a face behind which there is nothing
                leads[b].add((b[0] + rng.choice([-1, 1]), b[1], b[2]))
            turn = [h + rng.gauss(0, 0.25) for h in heading]
            norm = sum(t * t for t in turn) ** 0.5
            tips[i] = (there, [t / norm for t in turn])
            if rng.random() < branching:
                tips.append((there, direction(rng)))
    return leads, seeds


def cell(point: list[float]) -> Cell:
    z, y, x = map(int, point)
    return z, y, x


def direction(rng: random.Random) -> list[float]:
    steps = [rng.gauss(0, 1) for _ in range(3)]
    norm = sum(s * s for s in steps) ** 0.5
    return [s / norm for s in steps]


def walk(seed: int) -> list[tuple[int, int]]:
    """How many chunks were done and known after each one of a walk, strongest evidence first."""
    rng = random.Random(seed)
    leads, seeds = neurons(rng)
    known = set(seeds)
    waiting = [(0.0, s) for s in known]
    course = [(0, len(known))]
    for done in range(1, 10**6):
        if not waiting:
            return course
        # Several are in flight: they come back in another order than they were handed out.
        taken = [heapq.heappop(waiting) for _ in range(min(8, len(waiting)))]
        _, here = taken.pop(rng.randrange(len(taken)))
        for entry in taken:
            heapq.heappush(waiting, entry)
        for near in leads.get(here, ()):
            if near not in known:
                known.add(near)
                heapq.heappush(waiting, (-rng.random(), near))
        course.append((done, len(known)))
    raise AssertionError("a walk over a finite grid ends")


def looks(seeds: range) -> Iterator[tuple[int, Forecast]]:
    """Totals of walks and forecasts of them, at moments spread evenly over each."""
    for seed in seeds:
        course = walk(seed)
        total = len(course) - 1
        outlook = Outlook(SIDE**3)
        for done, known in course[:-1]:
            outlook.see(done, known)
            if total >= 100 and (20 * done) // total != (20 * (done - 1)) // total:
                yield total, outlook.forecast()


def test_the_interval_holds_in_at_least_8_of_10_looks_at_random_walks() -> None:
    seen = list(looks(range(80)))
    bounded = [(total, f) for total, f in seen if f.high is not None]
    trends = [(total, f) for total, f in bounded if f.basis == "trend"]

    assert all(f.low <= total for total, f in seen)
    assert len(bounded) > 0.8 * len(seen)
    assert len(trends) > 100
    for group in (bounded, trends):
        assert sum(total <= (f.high or 0) for total, f in group) >= 0.8 * len(group)


def test_the_best_guess_is_right_within_a_half_in_most_looks() -> None:
    ratios = [f.likely / total for total, f in looks(range(40)) if f.basis == "trend" and f.likely]

    assert sum(0.5 < ratio < 1.5 for ratio in ratios) > 0.8 * len(ratios)


@given(st.lists(st.integers(0, 3), min_size=40, max_size=400))
def test_ends_are_in_order_and_inside_what_is_known_and_what_can_be(offspring: list[int]) -> None:
    outlook = Outlook(limit=1000)
    known = 1
    for done, more in enumerate(offspring):
        known = min(1000, max(known, done) + more)
        outlook.see(done, known)
        forecast = outlook.forecast()

        assert forecast.low == known
        if forecast.high is not None:
            assert known <= (forecast.likely or known) <= forecast.high <= 1000


def test_a_dense_run_knows_its_total_from_the_start() -> None:
    outlook = Outlook(limit=500)

    outlook.see(0, 500)

    assert outlook.forecast() == Forecast(500, 500, 500, "exact")


def test_a_frontier_that_grows_has_no_trend_but_an_age() -> None:
    outlook = Outlook(limit=10**6)
    for done in range(200):
        outlook.see(done, 10 + 3 * done)

    forecast = outlook.forecast()

    assert (forecast.low, forecast.likely, forecast.high) == (607, None, 1990)
    assert forecast.basis == "age"


def test_nothing_is_said_of_the_end_too_early() -> None:
    outlook = Outlook(limit=10**6)
    outlook.see(0, 4)
    outlook.see(5, 20)

    assert outlook.forecast() == Forecast(20, None, None, "none")


def test_an_estimate_before_the_run_serves_until_there_is_a_trend() -> None:
    outlook = Outlook(limit=10**6, expected=(100, 400))
    outlook.see(0, 4)

    assert outlook.forecast() == Forecast(4, 200, 400, "estimate")


def test_probes_from_outside_are_not_taken_for_growth() -> None:
    plain, audited = Outlook(10**6), Outlook(10**6)
    for done in range(100):
        known = 50 + done - done // 3
        plain.see(done, known)
        audited.see(done, known)
    audited.see(100, 117 + 40, added=40)

    assert plain.forecast().basis == audited.forecast().basis == "trend"
    assert audited.forecast().low == 157


def test_time_left_is_wider_where_the_pace_varies() -> None:
    forecast = Forecast(100, 120, 150, "trend")

    steady, uneven = forecast.eta(50, (2.0, 2.0)), forecast.eta(50, (1.0, 4.0))

    assert steady == Eta(25.0, 35.0, 50.0)
    assert (uneven.low or 0) < 25 < 50 < (uneven.high or 0)
    assert str(steady) == "35 s (25 s to 50 s)"


@pytest.mark.parametrize(
    ("eta", "said"),
    [
        (Eta(None, None, None), "unknown"),
        (Eta(7200.0, None, None), "at least 2 h 0 min"),
        (Eta(60.0, None, 600.0), "60 s to 10 min"),
        (Eta(30.0, 30.0, 30.0), "30 s"),
    ],
)
def test_time_left_is_said_no_more_sharply_than_it_is_known(eta: Eta, said: str) -> None:
    assert str(eta) == said


def test_without_a_pace_there_is_no_time() -> None:
    assert Pace().rates() == (0.0, 0.0)
    assert Forecast(9, 9, 9, "exact").eta(3, (0.0, 0.0)) == Eta(None, None, None)
    assert Forecast(3, 3, 3, "exact").eta(3, (0.0, 0.0)).low == 0.0


def test_when_nothing_came_back_lately_there_is_no_upper_end() -> None:
    pace = Pace()
    for second, done in ((0, 0), (50, 100), (100, 100)):
        pace.see(second, done)

    assert pace.rates() == (0.0, 1.0)
    assert Forecast(150, 200, 300, "trend").eta(100, pace.rates()) == Eta(50.0, None, None)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300), st.integers(4, 40))
def test_a_trail_keeps_its_ends_and_lies_on_the_curve(steps: list[float], limit: int) -> None:
    trail = Trail(limit)
    position, curve = 0.0, []
    for step in steps:
        position += step
        curve.append((position, 2 * position + 1))
        trail.add(*curve[-1])

    assert len(trail.points) <= limit
    assert trail.points[0] == curve[0]
    assert trail.points[-1] == curve[-1]
    assert set(trail.points) <= set(curve)
    middle = (curve[0][0] + curve[-1][0]) / 2
    assert trail.at(middle)[0] == pytest.approx(2 * middle + 1)
