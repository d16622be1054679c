"""Zarr that is damaged, incomplete or hostile."""

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from neuroconn.errors import InterruptedRunError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume import open_source
from neuroconn.volume.sources.damage import salvage

SHAPE = (9, 11, 13)
VOXELS = np.random.default_rng(0).integers(1, 60000, SHAPE).astype(np.uint16)
WHOLE = Box.of_shape(SHAPE)
SLASHES = {"name": "v2", "separator": "/"}
DOTS = {"name": "default", "separator": "."}
FIRST = {"shape": (8, 8, 8), "index_location": "start"}
LAYOUTS: list[dict[str, Any]] = [
    {"zarr_format": 2, "chunks": (4, 4, 4)},
    {"zarr_format": 2, "chunks": (4, 4, 4), "order": "F"},
    {"zarr_format": 2, "chunks": (4, 16, 4), "chunk_key_encoding": SLASHES},
    {"zarr_format": 2, "chunks": (9, 11, 13), "compressors": None},
    {"zarr_format": 2, "chunks": (4, 4, 4), "filters": [numcodecs.Delta(dtype="<u2")]},
    {"zarr_format": 3, "chunks": (4, 4, 4)},
    {"zarr_format": 3, "chunks": (4, 4, 4), "compressors": None},
    {"zarr_format": 3, "chunks": (4, 5, 6), "chunk_key_encoding": DOTS},
    {"zarr_format": 3, "chunks": (4, 5, 6), "chunk_key_encoding": {"name": "v2", "separator": "."}},
    {"zarr_format": 3, "chunks": (2, 4, 4), "shards": (4, 8, 16)},
    {"zarr_format": 3, "chunks": (2, 4, 4), "shards": FIRST},
]


def stored(path: Path, voxels: Any = VOXELS, **layout: Any) -> Path:
    zarr.create_array(path, data=voxels, **{"chunks": (4,) * voxels.ndim, **layout})
    return path


def refuse(path: Path, reason: str, error: type[Exception] = VolumeError, **choice: Any) -> None:
    with pytest.raises(error, match=reason) as caught:
        open_source(path, **choice).read(WHOLE)
    assert "\n" not in str(caught.value)


def edit(path: Path, **changes: Any) -> Path:
    name = next(n for n in ("zarr.json", ".zarray") if (path / n).is_file())
    document = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps({**document, **changes}))
    return path


@pytest.fixture(scope="module", params=LAYOUTS, ids=str)
def array(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("zarr") / "a", **request.param)


def chunk_files(path: Path) -> list[Path]:
    return sorted(
        p for p in path.rglob("*") if p.is_file() and p.name[0] != "." and p.name != "zarr.json"
    )


def test_absent_chunks_are_counted(array: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(array, tmp_path / "a"))
    files = chunk_files(path)
    (files[0].parent / "stranger").write_text("no chunk")
    (files[0].parent / "00").write_text("no chunk")
    files[-1].unlink()
    files[-1].mkdir()

    if len(files) == 1:
        refuse(path, "none of its 1 stored chunks is there")
        return
    notes = open_source(path).notes
    assert any(f"1 of {len(files)} stored chunks are absent" in note for note in notes)
    assert any("fill value 0" in note for note in notes)


def test_only_chunks_of_the_chosen_channel_count(tmp_path: Path) -> None:
    voxels = np.stack([VOXELS, VOXELS, VOXELS])
    path = stored(tmp_path / "a", voxels, chunks=(1, 16, 16, 16), dimension_names=("c", *"zyx"))
    shutil.rmtree(path / "c" / "1")

    assert open_source(path, channel=0).notes == ()
    refuse(path, "none of its 1 stored chunks", channel=1)


def test_identity_tells_sources_apart_and_outlives_a_copy(array: Path, tmp_path: Path) -> None:
    before = open_source(array).identity
    copy = Path(shutil.copytree(array, tmp_path / "a"))
    assert open_source(copy).identity == before

    file = chunk_files(copy)[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    assert open_source(copy).identity.sample != before.sample
    file.write_bytes(data[:-1])
    assert open_source(copy).identity.layout != before.layout


def test_a_store_that_vanishes_while_it_is_read_is_not_taken_for_empty(tmp_path: Path) -> None:
    source = open_source(stored(tmp_path / "a"))
    source.read(Box((0, 0, 0), (4, 4, 4)))
    (tmp_path / "a").rename(tmp_path / "unplugged")

    with pytest.raises(InterruptedRunError, match="disappeared"):
        source.read(WHOLE)
    with pytest.raises(InterruptedRunError, match="disappeared"):
        salvage(source, WHOLE)


def test_an_empty_or_cut_object_is_damage_at_its_place(array: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(array, tmp_path / "a"))
    file = chunk_files(path)[0]
    whole = file.read_bytes()
    for kept in (0, 1, len(whole) // 4, len(whole) - 1):
        source = open_source(path)
        file.write_bytes(whole[:kept])
        voxels, bad = salvage(source, WHOLE)
        good = np.ones(SHAPE, bool)
        for place in bad:
            good[Box(place.start, place.stop).slices] = False
        assert bad, f"{kept} of {len(whole)} bytes pass"
        assert str(file.relative_to(path)) in str(bad[0])
        np.testing.assert_array_equal(voxels[good], VOXELS[good])
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "dtype", ["|O", [["a", "|O"]], [["a", "<u2"]], "|S4", "<M8[s]", "nonsense"]
)
def test_objects_and_structures_are_refused(tmp_path: Path, dtype: Any) -> None:
    refuse(edit(stored(tmp_path / "a", zarr_format=2), dtype=dtype), str(tmp_path / "a"))


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("where", ["filters", "compressor"])
@pytest.mark.parametrize("dtype", ["|O", "<u2"])
def test_nothing_is_ever_unpickled(tmp_path: Path, where: str, dtype: str) -> None:
    path = stored(tmp_path / "a", zarr_format=2, compressors=None)
    for file in chunk_files(path):
        file.write_bytes(pickle.dumps(Exploit(tmp_path / "owned")))
    codec = {"id": "pickle", "protocol": 5}
    edit(path, **{"dtype": dtype, where: [codec] if where == "filters" else codec})

    refuse(path, "never unpickled")
    assert not (tmp_path / "owned").exists()


def test_a_missing_codec_is_named(tmp_path: Path) -> None:
    v2, v3 = stored(tmp_path / "a", zarr_format=2), stored(tmp_path / "b", zarr_format=3)

    refuse(edit(v2, compressor={"id": "imagecodecs_jpeg2k"}), "codec imagecodecs_jpeg2k is not ins")
    refuse(edit(v3, codecs=[{"name": "bytes"}, {"name": "fancy.codec"}]), "fancy.codec")


def opens_not(path: Path, reason: str) -> None:
    with pytest.raises(VolumeError, match=reason) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shape": [9, 11]}, "readable"),
        ({"shape": [-9, 11, 13]}, "readable"),
        ({"shape": [0, 11, 13]}, "no volume's"),
        ({"shape": [10**7, 10**7, 10**7]}, "no volume's"),
        ({"shape": "big"}, "readable"),
        ({"shape": None}, "readable"),
        ({"chunks": [10**5, 10**5, 10**5]}, "2.0e\\+15 bytes in memory"),
        ({"chunks": [0, 4, 4]}, "chunks of"),
        ({"chunks": [4, 4]}, "readable"),
        ({"fill_value": -1}, "readable"),
        ({"fill_value": {}}, "readable"),
        ({"order": "Q"}, "readable"),
        ({"dimension_separator": "x"}, "readable"),
        ({"filters": 5}, "readable"),
        ({"compressor": []}, "readable"),
        ({"zarr_format": 7}, "readable"),
    ],
    ids=str,
)
def test_metadata_without_sense_are_refused_before_anything_is_allocated(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    opens_not(edit(stored(tmp_path / "a", zarr_format=2), **changes), reason)


@pytest.mark.parametrize(
    ("shard", "inner", "reason"),
    [
        (10**5, 10**5, "in memory"),
        (4096, 1, "not a usable one"),
        (4, 0, "chunks of|readable"),
        (4, 3, "readable"),
        (0, 4, "chunks of|readable"),
        (10**30, 4, "not a usable one|readable"),
    ],
)
def test_absurd_shards_are_refused(tmp_path: Path, shard: int, inner: int, reason: str) -> None:
    path = stored(tmp_path / "a", chunks=(4, 4, 4), shards=(8, 8, 8))
    document = json.loads((path / "zarr.json").read_text())
    document["chunk_grid"]["configuration"]["chunk_shape"] = [shard] * 3
    document["codecs"][0]["configuration"]["chunk_shape"] = [inner] * 3

    opens_not(edit(path, **document), reason)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_truncated_metadata_are_refused_wherever_they_end(tmp_path: Path, zarr_format: int) -> None:
    path = stored(tmp_path / "a", zarr_format=zarr_format)
    file = path / ("zarr.json" if zarr_format == 3 else ".zarray")
    text = file.read_bytes()

    for end in range(0, len(text) - 1, 7):
        file.write_bytes(text[:end])
        refuse(path, "truncated or damaged")
    file.write_bytes(b"[" * 100_000)
    refuse(path, "truncated or damaged")
    file.write_bytes(b"[]")
    refuse(path, "holds no table")


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Flipped bits, changed characters, missing and doubled pieces."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        changed, at = bytearray(data), int(random.integers(len(data)))
        match random.integers(4):
            case 0:
                changed[at] ^= 1 << int(random.integers(8))
            case 1:
                changed[at] = int(random.choice(list(b'0123456789"[]{},:-tfn')))
            case 2:
                del changed[at : at + int(random.integers(1, 20))]
            case _:
                changed[at:at] = changed[at : at + int(random.integers(1, 20))]
        yield bytes(changed)


def complaint(path: Path) -> str:
    """What is said against a source, if it is refused; anything else comes out."""
    try:
        source = open_source(path)
        z, y, x = (min(a, b) for a, b in zip(source.shape, SHAPE, strict=True))
        assert source.read(Box.of_shape((z, y, x))).shape == (z, y, x)
    except VolumeError as error:
        return str(error)
    return ""


def test_mutated_metadata_are_read_or_refused_and_nothing_else(array: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(array, tmp_path / "a"))
    file = next(f for f in (path / "zarr.json", path / ".zarray") if f.is_file())
    for changed in mutations(file.read_bytes(), 30, seed=len(file.read_bytes())):
        file.write_bytes(changed)
        assert "\n" not in complaint(path)


def test_mutated_chunks_are_read_or_refused_and_nothing_else(array: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(array, tmp_path / "a"))
    file = chunk_files(path)[-1]
    for changed in mutations(file.read_bytes(), 30, seed=5):
        file.write_bytes(changed)
        assert "\n" not in complaint(path)


@pytest.mark.parametrize("linked", ["c", "c/0", "c/0/0/0", "zarr.json"])
def test_links_out_of_the_store_are_refused(tmp_path: Path, linked: str) -> None:
    path = stored(tmp_path / "a")
    outside = tmp_path / "outside"
    (path / linked).rename(outside)
    (path / linked).symlink_to(outside)

    refuse(path, "a link that leaves")


def test_links_inside_the_store_and_to_it_are_followed(tmp_path: Path) -> None:
    path = stored(tmp_path / "a")
    (path / "c" / "0").rename(path / "first")
    (path / "c" / "0").symlink_to(path / "first")
    (tmp_path / "link").symlink_to(path)

    np.testing.assert_array_equal(open_source(tmp_path / "link").read(WHOLE), VOXELS)


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "a")
    (path / "c" / "0" / "0" / "0").unlink()
    (path / "c" / "0" / "0" / "0").symlink_to(path / "c" / "0" / "0" / "0")

    refuse(path, str(path))


def test_a_range_beyond_the_end_of_an_object_is_an_error(tmp_path: Path) -> None:
    path = stored(tmp_path / "a", chunks=(2, 4, 4), shards=FIRST, compressors=None)
    file = path / "c" / "0" / "0" / "0"
    file.write_bytes(file.read_bytes()[:-20])

    with pytest.raises(VolumeError, match="c/0/0/0 ends after 44 of 64 bytes: its voxels are lost"):
        open_source(path).read(Box((6, 4, 4), (8, 8, 8)))
