"""Every Python block of the documentation runs, a page from top to bottom."""

import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import Image, create_image, write_region
from neuroconn.volume.pyramid import reduce_block

DOCS = Path(__file__).resolve().parents[1] / "docs"
SHAPE = (64, 96, 96)
SPACING = (2.5, 1.3, 1.3)


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def runs_by_default(block: str) -> bool:
    """Whether it neither is a program of its own nor needs a viewer."""
    return not block.startswith("# serve.py") and "import napari" not in block


MIXED = {"training.md", "vaa3d.md"}
"""Pages whose blocks need the commands between them; they have tests of their own."""
PAGES = [
    page
    for page in sorted(DOCS.glob("*.md"))
    if page.name not in MIXED and any(map(runs_by_default, blocks(page)))
]


def stored(path: Path, kind: Any, voxels: NDArray[Any], zarr_format: Any = 3) -> Image:
    packed: dict[str, Any] = {"fill_value": 255, "array_attributes": {"scale_factor": 0.04}}
    image = create_image(
        path, levels=plan_levels(SHAPE, SPACING, smallest=32), dtype=voxels.dtype,
        frame=Frame(SPACING), chunk=16, shard=32, kind=kind, zarr_format=zarr_format,
        **(packed if kind == "distance" else {}),
    )  # fmt: skip
    for number, level in enumerate(image.levels):
        if number:
            voxels = reduce_block(voxels, level.step, "max" if kind == "brain" else "min")
        write_region(image.array(number), Box.of_shape(level.shape), voxels)
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A brain with one neurite, and its distance map with a corner where nobody looked."""
    path = tmp_path_factory.mktemp("docs")
    line = np.zeros(SHAPE, bool)
    line[48, 64, :] = True
    distance = np.minimum(ndimage.distance_transform_edt(~line), 10)
    codes = np.rint(distance * 25).astype(np.uint8)
    codes[32:, :32, :32] = 255
    noise = np.random.default_rng(1).integers(90, 110, SHAPE)
    brain = (noise + 500 * (distance < 2)).astype(np.uint16)
    stored(path / "brain.ome.zarr", "brain", brain)
    stored(path / "old.ome.zarr", "brain", brain, zarr_format=2)
    stored(path / "distance.ome.zarr", "distance", codes)
    return path


def run(page: Path, names: dict[str, Any], *, viewers: bool = False) -> dict[str, Any]:
    """Run the blocks of a page one after the other, as in a notebook."""
    for number, block in enumerate(blocks(page)):
        if runs_by_default(block) or (viewers and "import napari" in block):
            exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_blocks_run(folder: Path, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    names = run(page, {})

    if page.name == "results.md":
        assert names["near"] > 0
        assert 0 < names["explored"] < 1
        assert names["value"] > 500
        assert names["part"].max() > 500
        assert 0 <= names["voxels"].min() < names["voxels"].max() <= 10
        assert (folder / "part.tif").is_file()


def test_there_are_pages_with_python() -> None:
    python = {"check-vaa3d.md", "metrics.md", "results.md", "tracing.md"}

    assert python <= {page.name for page in PAGES}


@pytest.mark.viewer
@pytest.mark.filterwarnings("ignore")
def test_the_napari_block_shows_the_map_where_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import napari
    from napari.components import ViewerModel

    monkeypatch.chdir(folder)
    monkeypatch.setattr(napari, "Viewer", ViewerModel)  # all of a viewer but its window
    monkeypatch.setattr(napari, "run", lambda: None)

    (layer,) = run(DOCS / "results.md", {}, viewers=True)["viewer"].layers

    assert tuple(layer.scale) == SPACING
    assert tuple(layer.translate) == (0.0, 0.0, 0.0)
    assert len(layer.data) > 1
    assert tuple(layer.world_to_data((120.0, 83.2, 0.0)).round()) == (48, 64, 0)


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    """The address of the documentation's own server."""
    (program,) = (b for b in blocks(DOCS / "results.md") if b.startswith("# serve.py"))
    (folder / "serve.py").write_text(program, encoding="utf-8")
    (folder / "digits").write_text("0123456789")
    with subprocess.Popen(
        [sys.executable, "serve.py", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


@pytest.mark.parametrize(
    ("wanted", "part", "where"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-99", b"0123456789", "bytes 0-9/10"),
    ],
)
def test_the_server_answers_ranges(served: str, wanted: str, part: bytes, where: str) -> None:
    request = urllib.request.Request(f"{served}/digits", headers={"Range": wanted})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert (answer.status, answer.read()) == (206, part)
        assert answer.headers["Content-Range"] == where
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_the_server_answers_what_is_no_range(served: str) -> None:
    with urllib.request.urlopen(f"{served}/digits", timeout=20) as answer:
        assert (answer.status, answer.read()) == (200, b"0123456789")
    options = urllib.request.Request(f"{served}/digits", method="OPTIONS")
    with urllib.request.urlopen(options, timeout=20) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Headers"]) == (204, "*")
    for path, wanted, status in (("missing", "bytes=0-1", 404), ("digits", "bytes=10-", 416)):
        request = urllib.request.Request(f"{served}/{path}", headers={"Range": wanted})
        with pytest.raises(urllib.error.HTTPError, match=str(status)) as refused:
            urllib.request.urlopen(request, timeout=20)
        refused.value.close()


@pytest.mark.parametrize("name", ["brain", "old"])
def test_an_image_is_read_through_the_server_as_from_disk(
    folder: Path, served: str, name: str
) -> None:
    driver = "zarr" if name == "old" else "zarr3"
    store = {"driver": "http", "base_url": f"{served}/{name}.ome.zarr/0/"}
    remote = tensorstore.open({"driver": driver, "kvstore": store}).result()
    local = tensorstore.open(f"file://{folder}/{name}.ome.zarr/0/").result()

    np.testing.assert_array_equal(remote.read().result(), local.read().result())


CHROMIUM = (
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--window-size=1200,800",
)  # fmt: skip
SHADER = """
#uicontrol invlerp normalized(range=[90, 610])
void main() { emitGrayscale(normalized()); }
"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    assert all(programs), "this test needs chromium and chromedriver"
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for flag in (*CHROMIUM, f"--user-data-dir={tmp_path}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    yield driver
    driver.quit()


@pytest.mark.viewer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "scheme"), [("brain", "zarr3"), ("old", "zarr2")])
def test_neuroglancer_draws_the_neurite_where_it_is(
    served: str, browser: Any, name: str, scheme: str
) -> None:
    import neuroglancer

    source = f"{scheme}://{served}/{name}.ome.zarr/"
    neuroglancer.set_server_bind_address("127.0.0.1")
    viewer = neuroglancer.Viewer()
    with viewer.txn() as state:
        state.layers["image"] = neuroglancer.ImageLayer(source=source, shader=SHADER)
        state.dimensions = neuroglancer.CoordinateSpace(
            names=["z", "y", "x"], units="um", scales=list(SPACING)
        )
        state.position, state.layout, state.cross_section_scale = [48, 64, 48], "yz", 0.5
        state.show_axis_lines = state.show_default_annotations = state.show_scale_bar = False
    browser.get(viewer.get_viewer_url())

    shot = viewer.screenshot(size=[300, 300]).screenshot.image_pixels[..., :3].mean(axis=2)

    assert shot[150, 60:240].min() > 230, "the neurite crosses the middle of the picture"
    assert shot[160:200, 60:240].max() < 60
    assert shot[40:140, 60:240].max() < 60


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
