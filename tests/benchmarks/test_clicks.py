"""The study of clicks: its target, and its helpers on cases that can be counted by hand."""

from pathlib import Path

import clicks
import numpy as np
import pytest
import tifffile
from clicks import Table, gaps_and_blobs, pooled, reference, ridge_lines, spanning_forest, stored
from score_model import predictor

from neuroconn import convert
from neuroconn.evaluation.displays import Display

RAW, USUAL = Display("raw", "terafly-16"), Display(clicks.USUAL, "terafly-16")


@pytest.mark.slow
def test_the_shipped_model_makes_neurites_clickable_among_gaps_and_blobs() -> None:
    phantom = gaps_and_blobs(0)

    distance = predictor("default", threads=1)(phantom.image())
    scores = pooled([phantom], [distance], [clicks.USUAL])

    assert scores.rate(RAW) < 0.5
    assert scores.rate(USUAL) >= 0.95
    assert scores.gain(USUAL)[1][0] > 0.4


def test_a_true_map_reaches_the_upper_bound_and_a_tree_of_bytes_too() -> None:
    phantom = reference(0)

    scores = pooled([phantom], [phantom.distance(clip=10.0)], [clicks.USUAL])

    assert 0.5 < scores.rate(RAW) < 0.8
    for opening in ("terafly-16", "terafly-8", "file-16"):
        assert scores.rate(Display(clicks.USUAL, opening)) > 0.98
    assert scores.example is not None
    assert str(Table("a title", scores)).startswith("a title\n500 clicks")


def test_distances_are_those_a_map_on_disk_holds() -> None:
    found = stored(np.array([0.0, 0.019, 0.021, 9.99, 30.0], np.float32))

    assert found.tolist() == pytest.approx([0, 0, 0.04, 10, 10])


def test_a_ring_becomes_a_line_and_pieces_stay_apart() -> None:
    positions = np.arange(15.0).reshape(5, 3)

    forest = spanning_forest(positions, np.array([[0, 1], [1, 2], [2, 0], [3, 4]]))

    assert sorted(forest.parents.tolist()) == [-1, -1, 0, 0, 3]


def test_a_bright_line_is_found_without_a_network(tmp_path: Path) -> None:
    z, y, x = np.ogrid[:40, :40, :100]
    line = 300 * np.exp(-((z - 20.0) ** 2 + (y - 15) ** 2) / 4) + 0 * x
    noise = np.random.default_rng(0).normal(100, 5, line.shape)
    tifffile.imwrite(tmp_path / "line.tif", (line + noise).astype(np.uint16))
    convert(tmp_path / "line.tif", tmp_path / "brain", spacing=(1.0, 1.0, 1.0))

    forest = ridge_lines(tmp_path / "brain")

    middle = forest.positions[(forest.positions[:, 2] > 5) & (forest.positions[:, 2] < 95)]
    assert len(middle) >= 80
    assert np.abs(middle[:, :2] - (20, 15)).max() <= 1.5


def test_new_tables_replace_the_old_ones_of_the_page_and_nothing_else() -> None:
    before, after = "# A\n\n```\na\n```\n\n", "\n\nb `c`\n\n```\nd\n```\n"
    page = f"{before}{clicks.TABLES_FOLLOW}\n\n```text\nold\n```{after}"

    assert clicks.put_into(page, "new\nones\n") == page.replace("old", "new\nones")
    with pytest.raises(ValueError, match="no line"):
        clicks.put_into("# A\n", "new")
