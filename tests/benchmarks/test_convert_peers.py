"""The side-by-side benchmark of converters works, on a tiny volume and without the peers.

No figure is asserted: only that every part runs, that what it counts is right, and that it sees
outputs that are wrong.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

FOLDER = Path(__file__).parent / "convert"
SHAPE = (20, 96, 160)


@pytest.fixture(scope="module")
def parts() -> Iterator[SimpleNamespace]:
    """The modules of the benchmark, which is a folder of scripts."""
    names = ("brain", "check", "floor", "measure", "report", "rows", "venvs")
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: __import__(name) for name in names})
    finally:
        sys.path.remove(str(FOLDER))
        for name in names:
            del sys.modules[name]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a whole run over a tiny volume leaves behind."""
    folder = tmp_path_factory.mktemp("bench")
    z, y, x = map(str, SHAPE)
    words = ["--planes", z, "--height", y, "--width", x, "--rounds", "1", "--threads", "1"]
    paths = ["--work", str(folder / "work"), "--results", str(folder), "--venv", str(folder / "no")]
    subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), "--no-peers", *words, *paths],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    assert not list((folder / "work").iterdir()), "slices and outputs are removed"
    return folder


def test_every_row_of_ours_is_the_source_with_everything_it_should_have(
    results: Path, parts: SimpleNamespace
) -> None:
    found = json.loads((results / "bench-convert.json").read_text())

    for name, result in found["rows"].items():
        assert result["error"] is None, f"{name}: {result['error']}"
        assert len(result["runs"]) == 1
    checks = {name: r["check"] for name, r in found["rows"].items() if "check" in r}
    assert len(checks) == len(found["rows"]) - 1, "all but verify write something"
    for name, check in checks.items():
        assert check["equal"], name
        assert len(check["shapes"]) == 4
        assert parts.report.lacks(check) == []
    assert "zstd 3 shuffle" in checks["neuroconn"]["codec"]
    assert "zstd 1 shuffle" in checks["neuroconn, speed"]["codec"]


def test_the_floor_counts_the_bytes_that_ours_wrote(results: Path) -> None:
    found = json.loads((results / "bench-convert.json").read_text())
    floor, rows = found["floor"], found["rows"]
    files = rows["neuroconn"]["runs"][0]["bytes"]

    assert floor["R none"][0]["voxel_bytes"] == 2 * np.prod(SHAPE)
    assert floor["W archive"][0]["bytes"] == files
    assert 0 < floor["W archive_level_0"][0]["bytes"] < files
    # Beyond the chunks there are indices, checksums, metadata and the journal.
    assert floor["E archive"][0]["bytes_level_0"] < floor["W archive_level_0"][0]["bytes"]
    assert floor["E archive"][0]["bytes"] > floor["E archive"][0]["bytes_level_0"]


def test_the_table_has_a_line_for_each_row_and_compares_it(
    results: Path, parts: SimpleNamespace
) -> None:
    text = (results / "bench-convert.md").read_text()
    cells = {line.split(" | ")[0].lstrip("| "): line.split(" | ") for line in text.splitlines()}

    assert float(cells["neuroconn"][parts.report.HEAD.index("/ ours")]) == 1
    assert float(cells["neuroconn"][parts.report.HEAD.index("/ floor")]) > 0
    assert cells["neuroconn verify"][parts.report.HEAD.index("/ floor")] == ""
    for kind in ("lzw", "zlib"):
        assert f"{kind} source: " in text


def test_the_volume_is_the_one_that_is_described(parts: SimpleNamespace) -> None:
    brain = parts.brain.Brain((40, 128, 128))
    quiet = brain._background(7)
    plane = brain.plane(7).astype(float)
    on_line = np.zeros(plane.size, bool)
    on_line[parts.brain._of_plane(brain._core, 7, plane.size)] = True
    near = np.zeros(plane.size, bool)
    near[parts.brain._of_plane(brain._shell, 7, plane.size)] = True
    far = ~(on_line | near).reshape(plane.shape)
    noise = (plane - quiet)[far] / (0.9 * np.sqrt(quiet[far] - 100) + 2)

    assert 220 <= quiet.min() < quiet.max() <= 620
    assert abs(noise.mean()) < 0.05
    assert noise.std() == pytest.approx(1, abs=0.05)
    assert (plane - quiet).flat[np.flatnonzero(on_line)].mean() == pytest.approx(600, abs=20)
    assert (plane - quiet).flat[np.flatnonzero(near)].mean() == pytest.approx(300, abs=10)
    assert np.array_equal(brain.plane(7), parts.brain.Brain((40, 128, 128)).plane(7))


@pytest.mark.parametrize(("kind", "strips"), [("none", 1), ("lzw", 8), ("zlib", 8)])
def test_slices_hold_the_planes_in_the_strips_that_are_promised(
    parts: SimpleNamespace, tmp_path: Path, kind: str, strips: int
) -> None:
    brain = parts.brain.Brain((3, 64, 32))

    files = sorted(parts.brain.write_slices(brain, tmp_path, kind, 1).glob("*.tif"))

    with tifffile.TiffFile(files[1]) as page:
        assert len(page.pages) == 1
        assert len(page.pages[0].dataoffsets) == strips
    volume = parts.brain.read_slices(files, 1)
    assert np.array_equal(volume, np.stack([brain.plane(z) for z in range(3)]))


def image(folder: Path, levels: list[Any], offsets: list[float] | None) -> Path:
    """Write arrays as an OME-Zarr image; offsets are the translations of the levels."""
    steps = [[{"type": "scale", "scale": [2.0**n] * 3}] for n in range(len(levels))]
    for step, offset in zip(steps, offsets or [], strict=False):
        step.append({"type": "translation", "translation": [offset] * 3})
    scales = {
        "axes": [{"name": name, "type": "space"} for name in "zyx"],
        "datasets": [{"path": str(n), "coordinateTransformations": s} for n, s in enumerate(steps)],
    }
    group = zarr.create_group(
        folder, attributes={"ome": {"version": "0.5", "multiscales": [scales]}}
    )
    for number, level in enumerate(levels):
        array = group.create_array(
            str(number), shape=level.shape, dtype=level.dtype, chunks=(8,) * 3
        )
        array[:] = level
    return folder


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (lambda v: v.reshape(8, 2, 8, 2, 8, 2).max((1, 3, 5)), "max"),
        (lambda v: v.reshape(8, 2, 8, 2, 8, 2).mean((1, 3, 5)), "mean"),
        (lambda v: v[::2, ::2, ::2], "stride"),
        (lambda v: v[1::2, ::2, ::2], "other"),
        (lambda v: v.reshape(16, 8, 2, 8, 2).max((2, 4)), "max"),
    ],
)
def test_the_check_tells_how_levels_were_made(
    parts: SimpleNamespace, tmp_path: Path, how: Any, named: str
) -> None:
    volume = np.random.default_rng(0).integers(0, 1000, (16, 16, 16)).astype(np.uint16)
    coarse = how(volume).astype(np.uint16)

    found = parts.check.find_image(image(tmp_path / "a", [volume, coarse], [0, 0.5]))

    assert parts.check.method(found) == named
    assert parts.check.pyramid_is_max(found) == (named == "max")


@pytest.mark.parametrize(
    ("offsets", "named"),
    [
        ([0, 0.5], "half voxel"),
        ([0.5, 1.0], "half voxel more"),
        (None, "none"),
        ([0, 1.0], "other"),
    ],
)
def test_the_check_tells_where_levels_are_said_to_lie(
    parts: SimpleNamespace, tmp_path: Path, offsets: list[float] | None, named: str
) -> None:
    levels = [np.zeros((8, 8, 8), np.uint16), np.zeros((4, 4, 4), np.uint16)]

    found = parts.check.find_image(image(tmp_path / "a", levels, offsets))

    assert parts.check.shift(found) == named


def test_a_wrong_voxel_is_found(parts: SimpleNamespace, tmp_path: Path) -> None:
    brain = parts.brain.Brain((9, 16, 16))
    slices = parts.brain.write_slices(brain, tmp_path, "none", 1)
    volume = np.stack([brain.plane(z) for z in range(9)])
    right = image(tmp_path / "right", [volume], None)
    volume[8, 3, 5] += 1
    wrong = image(tmp_path / "wrong", [volume], None)

    assert parts.check.describe(right, slices, 1)["equal"]
    assert not parts.check.describe(wrong, slices, 1)["equal"]


def test_a_measured_child_says_what_it_used(parts: SimpleNamespace) -> None:
    code = """
import json, subprocess, sys, time
held = bytearray(80 << 20)
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
subprocess.run([sys.executable, "-c", "import time; b = bytearray(80 << 20); time.sleep(0.5)"])
print("{}")
print(json.dumps({"cpu_before": 0.0, "wall": 1}))
"""

    found = parts.measure.measure([sys.executable, "-c", code], os.environ)

    assert found["cpu"] >= 0.3
    assert 160 << 20 < found["peak_bytes"] < 400 << 20
    assert found["process_wall"] > 0.7
    assert found["wall"] == 1


def test_a_child_that_fails_or_takes_too_long_is_an_error(parts: SimpleNamespace) -> None:
    with pytest.raises(parts.measure.RunError, match="exit status 1: ValueError: no such brain"):
        parts.measure.measure(
            [sys.executable, "-c", "raise ValueError('no such brain')"], os.environ
        )
    with pytest.raises(parts.measure.RunError, match="exit status -9"):
        parts.measure.measure(
            [sys.executable, "-c", "import time; time.sleep(60)"], os.environ, limit=0.2
        )


def test_every_peer_has_an_adapter_and_exact_pins(parts: SimpleNamespace) -> None:
    pins = parts.venvs.sections(parts.venvs.REQUIREMENTS.read_text())

    assert {row.peer for row in parts.rows.ROWS} - {""} == set(pins)
    for row in parts.rows.ROWS:
        assert (FOLDER / "peers" / f"{row.script}.py").is_file()
    lines = [line for part in pins.values() for line in part.splitlines() if line.strip()]
    assert [line for line in lines if "==" not in line] == []
