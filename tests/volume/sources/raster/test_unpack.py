import bz2
import contextlib
import gzip
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.raster import unpack
from neuroconn.volume.sources.raster.unpack import Codec, Packed

DATA = np.random.default_rng(0).integers(0, 40, 9000).astype(np.uint8).tobytes()
PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "zlib": zlib.compress}
CODECS: list[Codec] = ["gzip", "bzip2", "zlib"]


def unpacked(packed: Packed) -> bytes:
    out = io.BytesIO()
    packed(out)
    return out.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    codec=st.sampled_from(CODECS),
    offset=st.integers(0, 9),
    skip=st.sampled_from([0, 1, 77, 5000, 9000]),
    piece=st.sampled_from([16, 100, 2**20]),
    size=st.sampled_from([0, 1, 3000, 9000]),
)
def test_what_was_packed_comes_out(
    tmp_path_factory: pytest.TempPathFactory,
    codec: Codec, offset: int, skip: int, piece: int, size: int,
) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "packed"
    path.write_bytes(bytes(offset) + PACK[codec](DATA[:size]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack, "_PIECE", piece)
        assert unpacked(Packed(path, codec, offset, skip)) == DATA[:size][skip:]


@pytest.mark.parametrize("codec", ["gzip", "bzip2"])
@pytest.mark.parametrize("piece", [16, 2**20])
def test_streams_after_one_another_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Codec, piece: int
) -> None:
    monkeypatch.setattr(unpack, "_PIECE", piece)
    parts = [DATA[:4000], b"", DATA[4000:]]
    (tmp_path / "a").write_bytes(b"".join(PACK[codec](part) for part in parts))

    assert unpacked(Packed(tmp_path / "a", codec)) == DATA


def test_zeros_after_gzip_are_padding(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(DATA) + bytes(5000))

    assert unpacked(Packed(tmp_path / "a", "gzip")) == DATA


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("piece", [16, 2**20])
def test_something_else_after_the_stream_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Codec, piece: int
) -> None:
    monkeypatch.setattr(unpack, "_PIECE", piece)
    (tmp_path / "a").write_bytes(PACK[codec](DATA) + b"more")

    with pytest.raises(VolumeError, match="b'more' follows the end of its"):
        unpacked(Packed(tmp_path / "a", codec))


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_cut_anywhere_is_refused(tmp_path: Path, codec: Codec) -> None:
    whole = PACK[codec](DATA[:300])
    for size in {*range(0, len(whole), 3), len(whole) - 1}:
        (tmp_path / "a").write_bytes(whole[:size])
        with pytest.raises(VolumeError, match="ends in the middle"):
            unpacked(Packed(tmp_path / "a", codec))


@pytest.mark.parametrize("codec", CODECS)
def test_no_flipped_bit_gives_other_bytes(tmp_path: Path, codec: Codec) -> None:
    whole = PACK[codec](DATA[:300])
    random = np.random.default_rng(1)
    for bit in random.choice(len(whole) * 8, 200, replace=False):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a").write_bytes(damaged)
        # The array that unpacks makes one error of these.
        with contextlib.suppress(VolumeError, zlib.error, OSError):
            assert unpacked(Packed(tmp_path / "a", codec)) == DATA[:300]


def test_pieces_of_a_bomb_are_small(tmp_path: Path) -> None:
    for codec in CODECS:
        (tmp_path / "a").write_bytes(PACK[codec](bytes(12_000_000)))
        sizes = []

        class Sink(io.BytesIO):
            def write(self, data: object, sizes: list[int] = sizes) -> int:  # type: ignore[override]
                sizes.append(len(data))  # type: ignore[arg-type]
                return 0

        Packed(tmp_path / "a", codec)(Sink())
        assert sum(sizes) == 12_000_000
        assert max(sizes) <= 4 * 2**20


def test_a_stream_too_small_for_its_voxels_is_refused_and_zeros_are_not(tmp_path: Path) -> None:
    for codec in CODECS:
        (tmp_path / "a").write_bytes(PACK[codec](bytes(5_000_000)))
        packed = Packed(tmp_path / "a", codec)

        packed.check(5_000_000)
        with pytest.raises(VolumeError, match="cannot unpack to 1000000000000"):
            packed.check(10**12)
