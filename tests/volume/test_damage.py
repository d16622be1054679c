import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.testing import MemorySource
from neuroconn.volume import comparison, convert, converter, open_image, read_region, verify_against
from neuroconn.volume.sources import Source
from neuroconn.volume.sources.damage import salvage

SHAPE = (18, 27, 21)
VOXELS = np.random.default_rng(1).integers(1, 900, SHAPE).astype(np.uint16)
BROKEN = (Box((11, 4, 5), (12, 5, 6)), Box((16, 20, 0), (18, 27, 9)))


def opener(source: Source) -> Any:
    """Stand in for ``open_source``: whatever the path, it is this source."""
    return lambda path, **_: source


def damaged() -> MemorySource:
    return MemorySource(VOXELS, (1, 4, 8), BROKEN)


def units(source: MemorySource) -> list[Box]:
    """Slow twin: every unit that holds a broken voxel."""
    boxes = Box.of_shape(source.shape).split(source.unit)
    return [box for box in boxes if any(bad.clip(box).size for bad in source.broken)]


spans = st.tuples(st.integers(0, 17), st.integers(0, 26), st.integers(0, 20))


@settings(max_examples=50, deadline=None)
@given(
    corners=st.lists(st.tuples(spans, spans), max_size=3),
    unit=st.tuples(st.integers(1, 9), st.integers(1, 30), st.integers(1, 30)),
)
def test_damage_is_narrowed_to_units_and_all_else_is_read(
    corners: list[tuple[ZYX, ZYX]], unit: ZYX
) -> None:
    broken = []
    for a, b in corners:
        low = [min(p, q) for p, q in zip(a, b, strict=True)]
        high = [max(p, q) + 1 for p, q in zip(a, b, strict=True)]
        broken.append(Box(tuple(low), tuple(high)))  # type: ignore[arg-type]
    source = MemorySource(VOXELS, unit, tuple(broken))

    voxels, bad = salvage(source, Box.of_shape(SHAPE))

    expected = VOXELS.copy()
    for box in units(source):
        expected[box.slices] = 0
    np.testing.assert_array_equal(voxels, expected)
    assert sorted((b.start, b.stop) for b in bad) == sorted(
        (b.start, b.stop) for b in units(source)
    )


def test_all_damage_is_named_before_a_conversion_fails(
    tmp_path: Path, small: dict[str, Any], narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = damaged()
    monkeypatch.setattr(converter, "open_source", opener(source))

    with pytest.raises(VolumeError) as raised:
        convert("a", tmp_path / "b", **small)

    message = str(raised.value)
    assert f"{len(units(source))} places" in message
    assert "\n" not in message
    assert "--on-bad fill" in message
    listed = (tmp_path / "b/.neuroconn/damage.txt").read_text().splitlines()
    assert len(listed) == len(units(source))
    assert any(line.startswith("z 11:12, y 4:8, x 0:8: ") for line in listed)


def test_damage_that_is_filled_is_named_in_the_report_and_in_the_brain(
    tmp_path: Path, small: dict[str, Any], narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = damaged()
    monkeypatch.setattr(converter, "open_source", opener(source))
    with pytest.raises(VolumeError):
        convert("a", tmp_path / "b", **small)

    report = convert("a", tmp_path / "b", **small, on_bad="fill")

    expected = VOXELS.copy()
    for box in units(source):
        expected[box.slices] = 0
    image = open_image(tmp_path / "b")
    np.testing.assert_array_equal(read_region(image.array(0), Box.of_shape(SHAPE)), expected)
    assert 0 < report.bands_written < report.bands  # what was sound before is not done again
    assert {(b.start, b.stop) for b in report.bad} == {(b.start, b.stop) for b in units(source)}
    assert json.dumps(image.attributes["bad"]) == json.dumps(
        [[b.start, b.stop, b.reason] for b in report.bad]
    )
    again = convert("a", tmp_path / "b", **small)
    assert again.bad == report.bad


def test_a_repaired_source_finishes_what_was_begun(
    tmp_path: Path, small: dict[str, Any], narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converter, "open_source", opener(damaged()))
    with pytest.raises(VolumeError):
        convert("a", tmp_path / "b", **small)
    monkeypatch.setattr(converter, "open_source", opener(MemorySource(VOXELS, (1, 4, 8))))

    report = convert("a", tmp_path / "b", **small)

    assert not report.bad
    stored = read_region(open_image(tmp_path / "b").array(0), Box.of_shape(SHAPE))
    np.testing.assert_array_equal(stored, VOXELS)


def test_numbers_without_a_grey_value_are_damage_too(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[2, 3, 4] = np.nan
    source = MemorySource(voxels, (1, 1, 21))
    monkeypatch.setattr(converter, "open_source", opener(source))

    report = convert("a", tmp_path / "b", **small, value_range=(0, 65535), on_bad="fill")

    assert [(b.start, b.stop) for b in report.bad] == [((2, 3, 0), (3, 4, 21))]


def test_clipped_voxels_are_counted_once_whatever_was_interrupted(
    tmp_path: Path, small: dict[str, Any], narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemorySource(VOXELS.astype(np.int16) - 400)
    monkeypatch.setattr(converter, "open_source", opener(source))

    def stop(state: Any) -> None:
        if state.bands_done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert("a", tmp_path / "b", **small, offset=0, progress=stop)
    report = convert("a", tmp_path / "b", **small, offset=0)

    assert report.clipped == np.count_nonzero(VOXELS < 400)
    assert open_image(tmp_path / "b").attributes["conversion"]["mapping"] == {"offset": 0}


def test_a_brain_is_compared_with_its_source_voxel_by_voxel(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converter, "open_source", opener(MemorySource(VOXELS)))
    convert("a", tmp_path / "b", **small)
    changed = VOXELS.copy()
    changed[17, 26, 20] += 1

    monkeypatch.setattr(comparison, "open_source", opener(MemorySource(VOXELS)))
    assert verify_against(tmp_path / "b", "a") == []
    monkeypatch.setattr(comparison, "open_source", opener(MemorySource(changed)))
    problems = verify_against(tmp_path / "b", "a")

    assert len(problems) == 1
    assert problems[0].startswith("1 voxels of ")
    assert problems[0].endswith("differ from the source, the first at 17, 26, 20")


def test_places_that_were_filled_are_left_out_of_the_comparison(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converter, "open_source", opener(damaged()))
    convert("a", tmp_path / "b", **small, on_bad="fill")
    monkeypatch.setattr(comparison, "open_source", opener(damaged()))

    assert verify_against(tmp_path / "b", "a") == []


def test_a_source_of_which_nothing_can_be_read_is_refused_whole(
    tmp_path: Path, small: dict[str, Any]
) -> None:
    np.savez_compressed(tmp_path / "a.npz", volume=VOXELS)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(data)

    with pytest.raises(VolumeError) as raised:
        convert(tmp_path / "a.npz", tmp_path / "b", **small, on_bad="fill")

    assert "places of the source" not in str(raised.value)


def test_what_was_filled_is_left_out_though_the_source_is_whole_again(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converter, "open_source", opener(damaged()))
    convert("a", tmp_path / "b", **small, on_bad="fill")
    monkeypatch.setattr(comparison, "open_source", opener(MemorySource(VOXELS, (1, 4, 8))))

    assert verify_against(tmp_path / "b", "a") == []
