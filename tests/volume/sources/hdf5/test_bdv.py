"""Data sets as BigDataViewer lays them out, written with h5py and TensorStore."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorstore
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.sources import open_source
from neuroconn.volume.sources.hdf5.bdv_xml import read_spimdata

SHAPE = (9, 18, 26)
VOXEL = "0.5 0.4 2.0"  # x y z
CALIBRATION = "0.5 0.0 0.0 {x} 0.0 0.4 0.0 {y} 0.0 0.0 2.0 {z}"

_SETUP = """
   <ViewSetup><id>{id}</id><name>channel {id}</name><size>26 18 9</size>
    <voxelSize><unit>{unit}</unit><size>{voxel}</size></voxelSize>
    <attributes><channel>{id}</channel><tile>{tile}</tile><angle>0</angle></attributes>
   </ViewSetup>"""

_XML = """<?xml version="1.0" encoding="UTF-8"?>
<SpimData version="0.2">
 <BasePath type="relative">{base}</BasePath>
 <SequenceDescription>
  <ImageLoader format="bdv.{kind}"><{kind} type="{how}">{name}</{kind}></ImageLoader>
  <ViewSetups>{setups}
  </ViewSetups>
  <Timepoints type="range"><first>{first}</first><last>{last}</last></Timepoints>
 </SequenceDescription>
 <ViewRegistrations>{registrations}</ViewRegistrations>
</SpimData>
"""


@pytest.fixture(scope="module")
def voxels() -> NDArray[np.uint16]:
    brain = np.random.default_rng(9).integers(0, 65536, SHAPE).astype(np.uint16)
    brain[0, 0, :3] = 0, 32767, 65535
    return brain


def view(voxels: NDArray[np.uint16], time: int, setup: int, level: int = 0) -> NDArray[np.uint16]:
    return ((voxels >> setup) ^ time)[:, :: 1 << level, :: 1 << level]


def write_hdf5(
    path: Path, voxels: NDArray[np.uint16], times: int, setups: int, dtype: str = "<i2"
) -> None:
    """BigDataViewer's Java writes the bits of uint16 as int16."""
    with h5py.File(path, "w") as file:
        for setup in range(setups):
            file[f"s{setup:02d}/resolutions"] = np.array([[1, 1, 1], [2, 2, 1]], "f8")
            file[f"s{setup:02d}/subdivisions"] = np.array([[8, 8, 4], [8, 8, 4]], "i4")
        for time, setup, level in np.ndindex(times, setups, 2):
            data = view(voxels, time, setup, level)
            file.create_dataset(
                f"t{time:05d}/s{setup:02d}/{level}/cells",
                data=data.view(np.int16) if dtype == "<i2" else data.astype(dtype),
                chunks=(4, 8, 8), compression="gzip", shuffle=True,
            )  # fmt: skip


def write_n5(root: Path, voxels: NDArray[np.uint16], times: int, setups: int) -> None:
    root.mkdir()
    (root / "attributes.json").write_text('{"n5": "2.0.0"}')
    for time, setup, level in np.ndindex(times, setups, 2):
        data = view(voxels, time, setup, level)
        store = tensorstore.open(
            {
                "driver": "n5",
                "kvstore": {
                    "driver": "file",
                    "path": f"{root}/setup{setup}/timepoint{time}/s{level}/",
                },
                "metadata": {
                    "dimensions": list(data.T.shape),
                    "blockSize": [8, 8, 4],
                    "dataType": "uint16",
                    "compression": {"type": "gzip"},
                },
            },
            create=True,
        ).result()
        store.T[...] = data
        (root / f"setup{setup}/attributes.json").write_text(
            '{"downsamplingFactors": [[1, 1, 1], [2, 2, 1]], "dataType": "uint16"}'
        )


Saver = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, voxels: NDArray[np.uint16]) -> Saver:
    """Write the XML and its container; return the XML."""

    def write(kind: str = "hdf5", times: int = 1, setups: int = 1, **facts: Any) -> Path:
        name = "brain.h5" if kind == "hdf5" else "brain.n5"
        if kind == "hdf5":
            write_hdf5(tmp_path / name, voxels, times, setups, facts.pop("dtype", "<i2"))
        elif not (tmp_path / name).exists():
            write_n5(tmp_path / name, voxels, times, setups)
        tiles, unit = facts.pop("tiles", 1), facts.pop("unit", "um")
        voxel = facts.pop("voxel", VOXEL)
        described = "".join(
            _SETUP.format(id=k, unit=unit, voxel=voxel, tile=k % tiles) for k in range(setups)
        )
        facts = {
            "base": ".", "kind": kind, "how": "relative", "name": name, "setups": described,
            "first": 0, "last": times - 1, "registrations": "", **facts,
        }  # fmt: skip
        path = tmp_path / "brain.xml"
        path.write_text(_XML.format(**facts))
        return path

    return write


def whole(path: Path, **choice: Any) -> NDArray[Any]:
    source = open_source(path, **choice)
    return source.read(Box.of_shape(source.shape))


@pytest.mark.parametrize("kind", ["hdf5", "n5"])
def test_voxels_and_their_size_come_back(
    save: Saver, voxels: NDArray[np.uint16], kind: str
) -> None:
    source = open_source(save(kind))

    assert source.dtype == np.uint16
    assert source.unit == (4, 8, 8)
    assert source.spacing_um == pytest.approx((2.0, 0.4, 0.5))
    assert "channel 0" in source.description
    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), voxels)
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.read(Box.of_shape(SHAPE)), voxels)


@pytest.mark.parametrize("kind", ["hdf5", "n5"])
def test_any_window_is_a_crop_of_the_whole(
    save: Saver, voxels: NDArray[np.uint16], kind: str
) -> None:
    source = open_source(save(kind))

    @settings(max_examples=20)
    @given(st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)) for n in SHAPE)))
    def law(ends: tuple[tuple[int, int], ...]) -> None:
        start, stop = (tuple(f(a) for a in ends) for f in (min, max))
        box = Box(start, stop)  # type: ignore[arg-type]
        np.testing.assert_array_equal(source.read(box), voxels[box.slices])

    law()


def test_int16_means_uint16(save: Saver) -> None:
    source = open_source(save())
    assert source.dtype == np.uint16
    assert source.notes == ("int16 in the file means uint16, as BigDataViewer reads it",)


@pytest.mark.parametrize("dtype", ["<u2", "u1", "<f4", "<i4"])
def test_other_types_mean_themselves(save: Saver, voxels: NDArray[np.uint16], dtype: str) -> None:
    source = open_source(save(dtype=dtype))

    assert source.dtype == np.dtype(dtype)
    assert source.notes == ()
    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), voxels.astype(dtype))


def test_an_hdf5_file_without_its_xml_has_no_spacing(
    save: Saver, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    save(setups=2)
    path = tmp_path / "brain.h5"
    source = open_source(path, channel=1)

    assert source.spacing_um is None
    assert any("in the XML" in note for note in source.notes)
    assert source.channels == 2
    np.testing.assert_array_equal(whole(path, channel=1), view(voxels, 0, 1))
    with pytest.raises(VolumeError, match="2 channels"):
        open_source(path)
    np.testing.assert_array_equal(
        whole(path, dataset="t00000/s01/1/cells"), view(voxels, 0, 1, level=1)
    )


@pytest.mark.parametrize("kind", ["hdf5", "n5"])
def test_view_setups_are_channels(save: Saver, voxels: NDArray[np.uint16], kind: str) -> None:
    path = save(kind, setups=3)
    with pytest.raises(VolumeError, match="3 channels"):
        open_source(path)
    with pytest.raises(UsageError, match="channel 3 does not exist"):
        open_source(path, channel=3)
    for channel in range(3):
        assert open_source(path, channel=channel).channels == 3
        np.testing.assert_array_equal(whole(path, channel=channel), view(voxels, 0, channel))


@pytest.mark.parametrize(
    ("kind", "third", "lower", "absent"),
    [
        ("hdf5", "t00002/s01/0/cells", "t00002/s01/1/cells", "t00007/s01/0/cells"),
        ("n5", "setup1/timepoint2/s0", "setup1/timepoint2/s1", "setup1/timepoint7/s0"),
    ],
)
def test_a_time_series_is_refused_unless_an_array_is_named(
    save: Saver, voxels: NDArray[np.uint16], kind: str, third: str, lower: str, absent: str
) -> None:
    path = save(kind, times=3, setups=2)
    container = path.with_suffix(".h5" if kind == "hdf5" else ".n5")

    for each in (path, container):
        with pytest.raises(VolumeError, match="3 time points"):
            open_source(each, channel=0)
        np.testing.assert_array_equal(whole(each, dataset=third), view(voxels, 2, 1))
        with pytest.raises((VolumeError, UsageError), match="has no"):
            open_source(each, dataset=absent)
    source = open_source(path, dataset=lower)
    assert source.spacing_um == pytest.approx((2.0, 0.8, 1.0))
    assert source.origin_um == pytest.approx((0.0, 0.2, 0.25))
    with pytest.raises(UsageError, match="one is"):
        open_source(path, dataset="something/else")


@pytest.mark.parametrize(
    ("unit", "voxel", "spacing", "note"),
    [
        ("µm", VOXEL, (2.0, 0.4, 0.5), None),
        ("micrometer", VOXEL, (2.0, 0.4, 0.5), None),
        ("nm", "500 400 2000", (2.0, 0.4, 0.5), None),
        ("pixel", "1 1 1", None, "pixel"),
        ("", VOXEL, None, "no length"),
        ("um", "0.5 0 2", None, "no length"),
        ("um", "0.5 nan 2", None, "no length"),
        ("um", "0.5 2", None, "no length"),
        ("um", "large", None, "no length"),
    ],
)
def test_a_voxel_size_is_believed_or_unknown(
    save: Saver,
    unit: str,
    voxel: str,
    spacing: tuple[float, float, float] | None,
    note: str | None,
) -> None:
    source = open_source(save(dtype="<u2", unit=unit, voxel=voxel))

    assert source.spacing_um == (None if spacing is None else pytest.approx(spacing))
    assert len(source.notes) == (note is not None)
    assert note is None or note in source.notes[0]


def _registered(*affines: str) -> str:
    inner = "".join(
        f'<ViewTransform type="affine"><affine>{affine}</affine></ViewTransform>'
        for affine in affines
    )
    return f'<ViewRegistration timepoint="0" setup="0">{inner}</ViewRegistration>'


def test_a_registration_that_only_places_the_view_gives_the_origin(save: Saver) -> None:
    at = CALIBRATION.format(x=10, y=-3, z=7)
    assert open_source(save(registrations=_registered(at))).origin_um == (7.0, -3.0, 10.0)

    # The transform listed first is applied last.
    shift, scale = "1 0 0 5 0 1 0 6 0 0 1 7", CALIBRATION.format(x=0, y=0, z=0)
    source = open_source(save(registrations=_registered(shift, scale)))
    assert source.origin_um == (7.0, 6.0, 5.0)
    source = open_source(save(registrations=_registered(scale, shift)))
    assert source.origin_um == pytest.approx((14.0, 2.4, 2.5))


@pytest.mark.parametrize(
    "affine",
    [
        "1 0 0 5 0 1 0 6 0 0 1 7",
        "0.5 0.1 0 0 0 0.4 0 0 0 0 2 0",
        "1 2 3",
        CALIBRATION.format(x="nan", y=0, z=0),
    ],
)
def test_any_other_registration_is_noted_and_not_applied(save: Saver, affine: str) -> None:
    source = open_source(save(dtype="<u2", registrations=_registered(affine)))
    assert source.origin_um == (0.0, 0.0, 0.0)
    assert source.notes == ("the registration of this view is not applied",)


def test_tiles_are_not_fused_and_that_is_said(save: Saver) -> None:
    source = open_source(save(dtype="<u2", setups=4, tiles=4), channel=1)
    assert source.notes == ("this view is one of 4 tiles, which are not fused",)


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "../brain.h5"},
        {"base": ".."},
        {"base": "a/../.."},
        {"name": "/etc/hostname"},
        {"name": "C:\\data\\brain.h5"},
        {"name": "..\\brain.h5"},
        {"how": "absolute"},
    ],
)
def test_an_xml_leads_nowhere_but_beside_itself(save: Saver, facts: dict[str, str]) -> None:
    with pytest.raises(VolumeError, match="outside its own folder"):
        open_source(save(**facts))


def test_a_symbolic_link_leads_nowhere_either(save: Saver, tmp_path: Path) -> None:
    path = save()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/brain.h5").symlink_to(tmp_path / "brain.h5")
    moved = path.rename(tmp_path / "inner/brain.xml")
    with pytest.raises(VolumeError, match="outside its own folder"):
        open_source(moved)


def test_a_container_below_the_xml_is_found(
    save: Saver, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    path = save(base="deep", name="er/brain.h5")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "brain.h5").rename(tmp_path / "deep/er/brain.h5")
    np.testing.assert_array_equal(whole(path), voxels)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("bdv.hdf5", "bdv.imaris", "read are bdv.hdf5 and bdv.n5"),
        ("<ViewSetups>", "<Views>", "damaged or unreadable"),
        ("ViewSetup>", "View>", "0 view setups"),
        ("<id>0</id>", "<id>zero</id>", "damaged or unreadable"),
        ("<id>0</id>", "", "no id"),
        ('<hdf5 type="relative">brain.h5</hdf5>', "", "no hdf5"),
        ("brain.h5", "lost.h5", "does not exist"),
        ("<last>0</last>", "<last>-4</last>", "impossible time points"),
        ("<last>0</last>", "<last>99999999999</last>", "impossible time points"),
        ("<SpimData version", "<!DOCTYPE x [<!ENTITY a 'b'>]><SpimData version", "entities"),
    ],
)
def test_a_damaged_xml_is_refused_in_one_line(save: Saver, old: str, new: str, reason: str) -> None:
    path = save()
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(VolumeError, match=reason):
        open_source(path)


@pytest.mark.parametrize(
    ("element", "times"),
    [
        ('<Timepoints type="pattern"><integerpattern>0</integerpattern></Timepoints>', (0,)),
        ('<Timepoints type="pattern"><integerpattern>1-3, 7</integerpattern></Timepoints>',
         (1, 2, 3, 7)),
        ('<Timepoints type="pattern"/>', (0,)),
        ("", (0,)),
    ],
)  # fmt: skip
def test_time_points_are_a_range_or_a_pattern(
    save: Saver, element: str, times: tuple[int, ...]
) -> None:
    path = save()
    text = path.read_text()
    start, stop = text.index("<Timepoints"), text.index("</Timepoints>") + len("</Timepoints>")
    path.write_text(text[:start] + element + text[stop:])
    assert read_spimdata(path).times == times


def test_a_view_that_is_missing_is_refused(save: Saver, tmp_path: Path) -> None:
    path = save()
    with h5py.File(tmp_path / "brain.h5", "a") as file:
        del file["t00000/s00/0/cells"]
    with pytest.raises(VolumeError, match="the view is missing"):
        open_source(path)


def test_a_master_file_of_partitions_is_refused(save: Saver, tmp_path: Path) -> None:
    path = save()
    (tmp_path / "brain.h5").rename(tmp_path / "brain-00.h5")
    with h5py.File(tmp_path / "brain.h5", "w") as file:
        file["s00/resolutions"] = np.ones((1, 3))
        file["t00000"] = h5py.ExternalLink("brain-00.h5", "/t00000")
    with pytest.raises(VolumeError, match="lies in another file"):
        open_source(path)


def test_an_xml_of_another_size_is_noted(save: Saver) -> None:
    path = save(dtype="<u2")
    path.write_text(path.read_text().replace("<size>26 18 9<", "<size>9 18 26<"))
    assert open_source(path).notes == (f"the XML says the view is (26, 18, 9), it is {SHAPE}",)


@pytest.mark.parametrize("kind", ["hdf5", "n5"])
def test_a_mutated_xml_is_refused_or_read_and_never_crashes(save: Saver, kind: str) -> None:
    path = save(kind, registrations=_registered(CALIBRATION.format(x=1, y=2, z=3)))
    content = path.read_bytes()
    refused = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        if seed % 4 == 0:
            damaged = damaged[: int(rng.integers(120, len(content) - 12))]
        for at in rng.integers(60, len(damaged), seed % 4):
            damaged[at] = int(rng.integers(256)) if seed % 2 else int(rng.integers(48, 58))
        path.write_bytes(damaged)
        try:
            source = open_source(path)
            assert source.read(Box.of_shape(source.shape)).shape == source.shape
        except (VolumeError, UsageError) as error:
            refused += "\n" not in str(error)
    assert refused > 20
