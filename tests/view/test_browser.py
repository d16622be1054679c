"""Page and report in a real browser: ``pytest -m viewer tests/view``.

Needs selenium, Chromium and its driver (Debian: ``chromium chromium-driver``). With the environment
variable ``PICTURES`` set to a folder, what was seen is kept there.
"""

import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from fakes import SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card
from PIL import Image as Pillow

from neuroconn.inference.backends import LocalBackend
from neuroconn.inference.run import infer
from neuroconn.view.board import Board
from neuroconn.view.dashboard import page

pytestmark = pytest.mark.viewer
SIZE = (1200, 800)
OPTIONS = (
    "--headless=new --no-sandbox --use-gl=angle --use-angle=swiftshader "
    "--enable-unsafe-swiftshader --disable-dev-shm-usage --disable-background-networking "
    "--disable-component-update --disable-sync --no-first-run --hide-scrollbars"
)


@pytest.fixture(params=["light", "dark"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("there is no chromedriver")
    options = webdriver.ChromeOptions()
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    for option in (*OPTIONS.split(), size, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    scheme = {"name": "prefers-color-scheme", "value": request.param}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """What a run told."""
    told = Board()
    monkeypatch.setattr(LocalBackend, "publish", staticmethod(told.merge))
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    infer(
        tmp_path / "brain.zarr",
        tmp_path / "out.zarr",
        model=tmp_path / "model",
        seeds=[SEED],
        settings=SETTINGS,
        scheduler="threads",
        predictor=fake_predictor,
    )
    return told


@pytest.fixture
def served(board: Board) -> Iterator[str]:
    """The page as a scheduler serves it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.endswith(".png"):
                _, _, run, name = path.split("/")
                body, kind = board.picture(run, name[0]) or b"", "image/png"
            elif path.endswith(".json"):
                body, kind = json.dumps({"runs": board.runs()}).encode(), "application/json"
            else:
                body, kind = page().encode(), "text/html"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/neuroconn"
        server.shutdown()


def look(browser: Any, name: str) -> np.ndarray[Any, Any]:
    """Take a picture, and see that the browser had nothing to complain of."""
    data = browser.get_screenshot_as_png()
    if "PICTURES" in os.environ:
        (Path(os.environ["PICTURES"]) / f"{name}.png").write_bytes(data)
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert severe == []
    return np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))


def test_the_page_draws_the_map_and_fits_a_small_screen(browser: Any, served: str) -> None:
    browser.get(served)
    until = time.monotonic() + 30
    while browser.execute_script("return document.querySelector('main').hidden"):
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(1)

    seen = look(browser, "page")
    canvas = browser.execute_script(
        "const c = document.getElementById('map'), d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; return [c.width, c.height, Array.from(d)]"
    )

    drawn = np.reshape(canvas[2], (canvas[1], canvas[0], 4))
    green = (drawn[..., 1] > 1.5 * drawn[..., 0]) & (drawn[..., 1] > 60)
    assert green.mean() > 0.05  # chunks with neurite
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 100
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= SIZE[0]
    bottom = browser.execute_script(
        "return document.getElementById('legend').getBoundingClientRect().bottom"
    )
    assert bottom < SIZE[1]
    text = browser.find_element("tag name", "body").text
    for words in ("chunks done", "Slowest chunks", "Failures: none", "out.zarr"):
        assert words in text


def test_the_report_opens_from_a_file(browser: Any, board: Board, tmp_path: Path) -> None:
    browser.get((tmp_path / "out.zarr/run/report.html").as_uri())

    seen = look(browser, "report")

    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 100
    shown = browser.execute_script(
        "return Array.from(document.querySelectorAll('svg.map image'))"
        ".every(i => i.getBoundingClientRect().width > 20)"
    )
    assert shown
    assert browser.execute_script("return document.documentElement.scrollWidth") <= SIZE[0]
