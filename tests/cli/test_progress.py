import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.live import Live

from neuroconn.cli.progress import Lines, Panel, page_lines, walk_progress
from neuroconn.inference.watching.events import Progress

NOW = Progress(
    done=12,
    neurite=8,
    empty=4,
    failed=1,
    queued=20,
    in_flight=3,
    slots=4,
    inferred=12,
    seconds=6.0,
    model_seconds=9.0,
    models=2,
    voxels=3_000_000,
    reachable=500,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_now_and_then() -> None:
    written: list[str] = []
    clock = Clock()
    lines = Lines(30.0, write=written.append, clock=clock)

    for second in range(100):
        clock.now = float(second)
        lines(replace(NOW, seconds=float(second)))

    assert len(written) == 3
    for words in ("13 done", "8 neurite, 4 empty, 1 failed", "frontier 23 (3 in flight)"):
        assert words in written[0]


def test_a_line_tells_pace_use_and_what_is_left() -> None:
    written: list[str] = []
    lines = Lines(0.0, write=written.append)

    lines(replace(NOW, inferred=0, seconds=0.0))
    lines(NOW)

    assert "2.00 chunks/s, 0.50 Mvoxel/s, networks busy 75 %" in written[-1]
    assert "left; at least 36 chunks in all" in written[-1]


def test_warnings_and_the_audit_are_said_once_and_at_once() -> None:
    written: list[str] = []
    lines = Lines(1e9, write=written.append)

    for _ in range(5):
        lines(replace(NOW, warnings=("the walk floods",), audit="at most 3 %"))

    assert written == ["warning  the walk floods", "audit    at most 3 %"]


def test_a_new_phase_and_the_end_are_said() -> None:
    written: list[str] = []
    lines = Lines(1e9, write=written.append)

    lines(NOW)
    lines(replace(NOW, phase="audit"))
    lines(replace(NOW, phase="audit", queued=0, in_flight=0))
    lines.close()
    lines.close()

    assert [line.split()[0] for line in written] == ["audit", "audit"]
    assert written[-1].endswith("nothing left")


def test_a_run_that_did_nothing_says_nothing() -> None:
    written: list[str] = []
    lines = Lines(1e9, write=written.append)

    lines(replace(NOW, inferred=0))
    lines.close()

    assert written == []


def test_a_terminal_shows_the_whole_state_and_keeps_the_warnings() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        panel = Panel(live)
        panel(replace(NOW, warnings=("the walk floods",)))
        panel(replace(NOW, done=99))  # too soon after the first to be drawn

    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for words in ("walk", "13 chunks in 6 s", "8 neurite", "frontier 23", "Mvoxel/s", "left"):
        assert words in shown
    assert shown.count("warning  the walk floods") == 1
    assert "100 chunks" not in shown


def test_stderr_decides_between_panel_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = io.StringIO()
    with walk_progress(Console(file=terminal, force_terminal=True)) as panel:
        panel(NOW)
    with walk_progress() as lines:
        lines(NOW)

    captured = capsys.readouterr()
    assert "\x1b[" in terminal.getvalue()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_a_display_that_fails_does_not_end_the_walk(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the terminal is gone")

    monkeypatch.setattr(Lines, "_say", fail)
    with walk_progress(every_s=0.0) as lines:
        for _ in range(3):
            lines(NOW)

    assert "the terminal is gone" in caplog.text
    assert len(caplog.records) == 1


def test_an_estimate_before_the_run_is_believed_at_first() -> None:
    written: list[str] = []
    lines = Lines(0.0, expected=(100, 400), write=written.append)

    lines(NOW)

    assert "about 200 (36 to 400) chunks in all" in written[0]


@pytest.mark.parametrize(
    ("dashboard", "page", "tunnel"),
    [
        ("http://127.0.0.1:8787/status", "http://127.0.0.1:8787/neuroconn", "8787:127.0.0.1:8787"),
        ("http://10.0.0.7:80/a/b/status", "http://10.0.0.7:80/a/b/neuroconn", "80:10.0.0.7:80"),
        ("https://node7/status", "https://node7/neuroconn", "443:node7:443"),
    ],
)
def test_the_page_and_the_way_to_it_are_said(dashboard: str, page: str, tunnel: str) -> None:
    here, afar = page_lines(dashboard, "gate")

    assert here.split()[-1] == page
    assert f"ssh -L {tunnel} gate" in afar
    assert afar.endswith(page[page.index("/", 8) :])
