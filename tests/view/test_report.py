import re
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fakes import CHUNKS, SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card

from neuroconn.errors import InterruptedRunError, OutputError
from neuroconn.inference.output.verify import verify
from neuroconn.inference.run import infer
from neuroconn.view.follow import Follower
from neuroconn.view.report import gather, report
from neuroconn.view.report_html import render

VOID = {"meta", "br", "img", "link"}


class Page(HTMLParser):
    """Checks nesting, and gathers text and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    return tmp_path


def run(folder: Path, **more: Any) -> Any:
    usual: dict[str, Any] = {"seeds": [SEED], "settings": SETTINGS}
    return infer(
        folder / "brain.zarr",
        folder / "out.zarr",
        model=folder / "model",
        scheduler="sync",
        predictor=fake_predictor,
        **{**usual, **more},
    )


def page(folder: Path) -> Page:
    return Page((folder / "out.zarr/run/report.html").read_text("utf-8"))


def test_a_run_leaves_a_whole_page_that_fetches_nothing(brain: Path) -> None:
    done = run(brain)

    found = page(brain)

    assert found.open == []
    assert found.links
    assert all(link.startswith("data:") for link in found.links)
    assert "script" not in found.tags
    style = (brain / "out.zarr/run/report.html").read_text("utf-8")
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", style)
    visited = done.visited
    assert f"{visited} chunks stored" in found.text
    assert f"{done.chunks['neurite']} with neurite" in found.text
    assert "Complete: the visited chunks are the closure" in found.text
    for word in ("evidence.threshold", done.run_id[:12], "asinh", "along z", "chunks per second"):
        assert word in found.text


def test_it_is_no_damage_to_the_output(brain: Path) -> None:
    run(brain)

    assert verify(brain / "out.zarr").sound


def test_a_stopped_run_leaves_a_page_too_and_resuming_keeps_the_course(brain: Path) -> None:
    stop = threading.Event()
    with pytest.raises(InterruptedRunError):
        run(
            brain,
            seed_source="all",
            stop=stop,
            progress=lambda now: stop.set() if now.done > 20 else None,
        )

    stopped = page(brain)
    run(brain, seed_source="all")
    resumed = page(brain)

    assert "Not the whole closure" in stopped.text
    assert "InterruptedRunError" in stopped.text
    assert "at work, 1 client" in stopped.text
    assert "at work, 2 clients" in resumed.text
    assert f"{CHUNKS} chunks stored, 100 % of the grid" in resumed.text
    assert "another client took over" in resumed.text


def test_failures_are_listed_with_their_reasons_and_as_plain_text(
    brain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = fibre()
    volume[24, 40, 20] = 777
    save_brain(brain / "sick.zarr", volume)
    monkeypatch.setenv("FAKE", '{"error": 777}')

    done = infer(
        brain / "sick.zarr",
        brain / "out.zarr",
        model=brain / "model",
        seeds=[SEED],
        settings=SETTINGS,
        scheduler="sync",
        predictor=fake_predictor,
    )

    found = page(brain)
    facts = gather(Follower(brain / "out.zarr"))
    nasty = Page(render(replace(facts, reasons={done.failed[0][0]: "<script>x</script>"})))
    assert "<script>x</script>" in nasty.text
    assert "script" not in nasty.tags
    assert done.failed
    assert "RuntimeError: the fake network was told to fail (3 attempts)" in found.text
    assert ", ".join(map(str, done.failed[0][0])) in found.text
    assert "chunk failed" in found.text


def test_what_a_run_says_is_never_markup(brain: Path) -> None:
    nasty = brain / "<b>&amp;"
    nasty.mkdir()
    for name in ("brain.zarr", "model"):
        (brain / name).rename(nasty / name)

    run(nasty)

    found = page(nasty)
    assert found.open == []
    assert "b" not in found.tags[: found.tags.index("section")]
    assert str(nasty / "brain.zarr") in found.text


def test_it_can_be_made_again_without_the_brain(brain: Path) -> None:
    run(brain)
    first = page(brain)
    (brain / "brain.zarr").rename(brain / "elsewhere.zarr")

    where = report(brain / "out.zarr", brain / "again.html")

    again = Page(Path(where).read_text("utf-8"))
    assert "Without the brain behind it" in again.text
    assert len(again.links) == len(first.links) - 3


def test_a_run_with_nothing_left_to_do_leaves_the_page_alone(brain: Path) -> None:
    run(brain)
    before = (brain / "out.zarr/run/report.html").stat().st_mtime_ns

    run(brain)

    assert (brain / "out.zarr/run/report.html").stat().st_mtime_ns == before


def test_something_else_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not an output of"):
        report(tmp_path)
