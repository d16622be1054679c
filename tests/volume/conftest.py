import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from neuroconn.volume import convert_band, engines

SHAPE = (18, 27, 21)


@pytest.fixture(autouse=True, scope="session")
def _disks_are_not_waited_for() -> Iterator[None]:
    """Tests survive no power cut; waiting for the disk at every row makes them slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(engines, "SYNC", False)
        yield


@pytest.fixture(scope="session")
def voxels() -> NDArray[np.uint16]:
    """A brain with an empty corner."""
    brain = np.random.default_rng(3).integers(0, 2000, SHAPE).astype(np.uint16)
    brain[:16, :16, :16] = 0
    brain[-1, -1, -1] = 65535
    return brain


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, voxels: NDArray[np.uint16]) -> Path:
    path = tmp_path_factory.mktemp("source") / "brain.tif"
    tifffile.imwrite(
        path, voxels, imagej=True, resolution=(2, 2),
        metadata={"axes": "ZYX", "spacing": 1.0, "unit": "um"},
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Settings that give a small volume many rows and levels."""
    return {"chunk": 4, "shard": 8, "smallest": 8, "threads": 2}


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    def of(folder: Path) -> dict[str, str]:
        # The journal says in which steps a brain was made; the brain does not depend on it.
        files = (
            p for p in sorted(folder.rglob("*")) if p.is_file() and ".neuroconn" not in p.parts
        )
        return {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
        }

    return of


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for a few shards only, so that even a small volume takes many bands."""
    monkeypatch.setattr(convert_band, "_candidates", lambda plan: [plan.shard])
