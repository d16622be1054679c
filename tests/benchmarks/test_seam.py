"""How far stitched chunks are from the whole volume, by the width of the halo.

``pytest tests/benchmarks/test_seam.py --benchmark-enable -s`` prints, for the shipped model on a
phantom and for every halo on its pooling grid, the largest, the 99.9 % and the mean difference in
voxels between chunks of about 64^3 and the same voxels with the exact halo. Without
``--benchmark-enable`` a small network without training is measured.
"""

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from workloads import phantom_brain, shipped_or, untrained

from neuroconn import load_model, open_image
from neuroconn.config.infer import InferSettings
from neuroconn.inference.engine.seam import Seam, seam_errors
from neuroconn.inference.prepare import constants_of
from neuroconn.network import receptive_field


def table(seams: list[Seam], exact: int) -> str:
    """Return the table of seam errors, the default halo marked."""
    default = InferSettings().halo
    lines = [f"seam error in voxels, exact halo {exact}", "halo    largest    99.9 %      mean"]
    for seam in seams:
        mark = "  (default)" if seam.halo == default else ""
        lines.append(f"{seam.halo:4}{seam.largest:11.2e}{seam.p999:10.2e}{seam.mean:10.2e}{mark}")
    return "\n".join([*lines, f"{exact:4}  what the others are compared with"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_seam_error_by_halo(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    small = benchmark.disabled
    folder = tmp_path / "model"
    model = load_model(str(untrained(folder, 2, 4)) if small else shipped_or(folder))
    image = open_image(phantom_brain(tmp_path, 64 if small else 192, 2 if small else 10))
    constants = constants_of(image, model.card)
    field = receptive_field(model.network)
    halos = range(0, field.halo, field.stride)
    places = 1 if small else 3

    seams = benchmark.pedantic(
        seam_errors, args=(image, model, constants, halos), kwargs={"places": places}, rounds=1
    )

    benchmark.extra_info.update({str(seam.halo): seam.mean for seam in seams})
    print("\n" + table(seams, field.halo))
    assert [seam.halo for seam in seams] == list(halos)
    assert all(max(seam.mean, seam.p999) <= seam.largest for seam in seams)
    assert seams[0].mean > seams[-1].mean
