"""The tags of every page, against tifffile's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.vaa3d.conformance.tiff import Layout, TiffFault, read_tiff

OPTIONS: list[dict[str, Any]] = [
    {},
    {"compression": "lzw", "rowsperstrip": 1},
    {"compression": "zlib", "predictor": True, "rowsperstrip": 3},
    {"bigtiff": True, "rowsperstrip": 2},
    {"byteorder": ">", "rowsperstrip": 5},
    {"byteorder": ">", "bigtiff": True},
    {"number": lambda page, total: (page, total)},
    {"number": lambda page, total: (page, total), "byteorder": ">", "bigtiff": True},
    {"metadata": {}, "software": "a name that lies elsewhere in the file"},
    {"resolution": (3, 4), "datetime": True},
]


def expected(page: Any) -> Layout:
    def tag(code: int, default: int | None = None) -> int | None:
        found = page.tags.get(code)
        return default if found is None else int(np.atleast_1d(found.value)[0])

    return Layout(
        width=tag(256), height=tag(257), bits=tag(258), compression=tag(259), photometric=tag(262),
        rows_per_strip=tag(278), samples=tag(277, 1) or 1, sample_format=tag(339, 1) or 1,
        planar=tag(284, 1) or 1, orientation=tag(274, 1) or 1, tiled=322 in page.tags,
    )  # fmt: skip


@settings(max_examples=40)
@given(
    options=st.sampled_from(OPTIONS),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(2, 12)),
)
def test_pages_are_what_tifffile_says(
    tiff: Any, tmp_path_factory: pytest.TempPathFactory, options: Any, dtype: Any, shape: Any
) -> None:
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    # Noise on one half: strips of compressed pages are of many sizes.
    voxels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    voxels[: shape[0] // 2] = 7
    tiff.save(path, voxels, **options)

    facts = read_tiff(path)

    with tifffile.TiffFile(path) as tif:
        assert (facts.order, facts.big) == (tif.byteorder, tif.is_bigtiff)
        assert facts.fault is None
        assert len(facts.pages) == len(tif.pages)
        for page, found in zip(tif.pages, facts.pages, strict=True):
            assert found.layout == expected(page)
            sizes = page.databytecounts  # type: ignore[union-attr]
            ends = np.add(page.dataoffsets, sizes)  # type: ignore[union-attr]
            assert (found.strips, found.stored) == (len(sizes), sum(sizes))
            assert found.end == max(ends) <= facts.size
            assert not found.hole
            tag = page.tags.get(297)  # type: ignore[union-attr]
            assert found.number == (None if tag is None else tag.value)
            assert found.entry == (0 if tag is None else tag.offset)


@pytest.mark.parametrize("cut", [0, 1, 3, 7, 8, 40, 130, 200, -200, -1])
def test_a_file_that_is_cut_never_passes_for_whole(tiff: Any, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.tif"
    tiff.save(path, np.ones((3, 9, 9), np.uint16), rowsperstrip=2)
    path.write_bytes(path.read_bytes()[:cut])

    try:
        facts = read_tiff(path)
    except TiffFault:
        return
    late = any(page.end > facts.size for page in facts.pages)
    assert late or facts.fault is not None or len(facts.pages) < 3


def test_a_page_unlike_the_one_before_is_taken_apart_anew(tiff: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tiff.save(path, [np.zeros((4, n), np.uint8) for n in (5, 5, 6, 5)])

    pages = read_tiff(path).pages

    assert [page.layout.width for page in pages] == [5, 5, 6, 5]
    assert pages[0].layout is pages[1].layout
