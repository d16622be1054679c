"""The facts of a run as one HTML file: no script, nothing fetched, every word escaped."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from neuroconn._version import __version__
from neuroconn.inference.watching.outlook import duration
from neuroconn.inference.watching.samples import Session
from neuroconn.view.report import RunFacts
from neuroconn.view.report_curves import course_charts, times_chart
from neuroconn.view.report_map import COLOURS, map_svg

_LISTED = 200


def render(facts: RunFacts) -> str:
    """Return the report as HTML."""
    parts = [
        _head(facts),
        f'<section class="tiles">{_tiles(facts)}</section>',
        f"<section><h2>Map</h2>{_map(facts)}</section>",
        _pair(*_charts(facts)),
        _section("Audit", _audit(facts)) + _section("Failed chunks", _failures(facts)),
        _pair(
            _section("Slowest chunks", _slowest(facts)),
            _section("Clients", _clients(facts.sessions) + _incidents(facts.incidents)),
        ),
        _section("Configuration", _configuration(facts)),
    ]
    style = files("neuroconn.view").joinpath("report.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(facts.now.output)} – neuroconn</title>"
        f"<style>\n{style}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _head(facts: RunFacts) -> str:
    now = facts.now
    name = now.output.rstrip("/").rsplit("/", 1)[-1]
    made = f"run {str(facts.attributes.get('run_id', ''))[:12]}, neuroconn {__version__}"
    if now.running:
        state = (
            f'<p class="said">Under way: {escape(now.running)}. Left: {escape(now.eta_text)}.</p>'
        )
    elif now.complete:
        state = (
            '<p class="said good">Complete: the visited chunks are the closure of the seeds.</p>'
        )
    else:
        lines = "".join(f"<div>{escape(line)}</div>" for line in now.exceptions)
        state = f'<div class="said"><div><b>Not the whole closure</b></div>{lines}</div>'
    warned = "".join(f"<div>⚠ {escape(line)}</div>" for line in facts.warnings)
    return (
        f'<h1>{escape(name)}</h1><div class="soft">{escape(now.output)} · {escape(made)} · '
        f"{escape(_span(facts.sessions))}</div>{state}"
        + (f'<div class="said">{warned}</div>' if warned else "")
    )


def _tiles(facts: RunFacts) -> str:
    now, chunks = facts.now, facts.now.chunks
    visited = chunks["neurite"] + chunks["empty"]
    grid = sum(chunks.values())
    shown = [
        (f"{visited:,}", f"chunks stored, {_percent(visited, grid)} of the grid"),
        (
            f"{chunks['neurite']:,}",
            f"with neurite, {_percent(chunks['neurite'], visited)} of those",
        ),
        (f"{chunks['failed']:,}", "failed"),
        (f"{chunks['queued'] + chunks['in_flight']:,}", "known, not visited"),
        (_voxels(facts.voxels), "stored"),
        (_ratio(visited, chunks["neurite"]), "visited a chunk with neurite"),
        (duration(now.seconds), f"at work, {len(facts.sessions)} {_clients_word(facts.sessions)}"),
        (duration(now.model_seconds), f"networks ran: {_hours(now.model_seconds)} (GPU-)hours"),
        (_rate(facts), "chunks/s over the time at work"),
        (_percent(now.model_seconds, _available(facts.sessions)), "networks busy"),
    ]
    return "".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in shown)


def _map(facts: RunFacts) -> str:
    drawn = map_svg(facts.grid, facts.frontier.state, facts.spacing_um, facts.views)
    counts = facts.frontier.counts()
    keys = [
        f'<span><i style="background:rgb{colour[:3]}"></i>{name.replace("_", " ")} '
        f"{counts[name]:,}</span>"
        for name, colour in COLOURS.items()
        if counts[name] or name in ("neurite", "empty", "failed")
    ]
    behind = "Brightest voxels of each ray" if facts.views else "Without the brain behind it"
    note = f'<p class="soft">{behind}; of the chunks on a ray the most telling shows.</p>'
    return f'{drawn}<div class="legend">{"".join(keys)}</div>{note}'


def _charts(facts: RunFacts) -> list[str]:
    charts = [*course_charts(facts.sessions), times_chart(facts.times)]
    return [f"<section>{chart}</section>" for chart in charts if chart]


def _audit(facts: RunFacts) -> str:
    chunks = facts.now.chunks
    visited = chunks["neurite"] + chunks["empty"]
    waste = (
        f"{_percent(chunks['empty'], visited)} of the visited chunks were empty, the probes of an "
        "audit among them. Near 100 % a walk has flooded the brain; along fibres it is a quarter."
        if visited
        else "Nothing was visited."
    )
    first = escape(facts.audit) if facts.audit else "No audit has ended."
    return f'<p>{first}</p><p class="soft">{waste}</p>'


def _failures(facts: RunFacts) -> str:
    failed = list(facts.frontier.chunks("failed"))
    if not failed:
        return "<p>None.</p>"
    reasons = [(index, facts.reasons.get(index, "unknown")) for index in failed]
    kinds = Counter(reason.split(":", 1)[0] for _, reason in reasons).most_common()
    sums = ", ".join(f"{count:,} {escape(kind)}" for kind, count in kinds[:10])
    rows = [(", ".join(map(str, index)), reason) for index, reason in reasons[:_LISTED]]
    more = f" The first {_LISTED}:" if len(failed) > _LISTED else ""
    return f"<p>{sums}.{more}</p>" + _table(("chunk z, y, x", "why"), rows)


def _slowest(facts: RunFacts) -> str:
    rows = [(", ".join(map(str, i)), f"{s:.2f}") for i, s, _ in facts.times.slowest()]
    return _table(("chunk z, y, x", "seconds"), rows, numbers=(1,)) if rows else "<p>None.</p>"


def _clients(sessions: Sequence[Session]) -> str:
    rows = []
    for session in sessions[-50:]:
        last = session.samples[-1] if session.samples else None
        ended = session.end.get("reason", "done") if session.end else "no word of its end"
        rows.append(
            (
                _when(float(session.start["time"])),
                duration(last.seconds) if last else "–",
                f"{last.inferred:,}" if last else "0",
                str(session.start.get("backend", "")),
                str(ended),
            )
        )
    heads = ("start", "time", "chunks", "where", "end")
    return _table(heads, rows, numbers=(1, 2)) if rows else "<p>None.</p>"


def _incidents(incidents: Mapping[str, int]) -> str:
    if not incidents:
        return ""
    said = ", ".join(f"{escape(kind)}: {count:,}" for kind, count in sorted(incidents.items()))
    return f'<p class="soft">Incidents (the latest thousand): {said}</p>'


def _configuration(facts: RunFacts) -> str:
    known = facts.attributes
    grid = facts.grid
    about: dict[str, Any] = {
        "brain": facts.brain,
        "grid": f"{' × '.join(map(str, grid.counts))} chunks of {' × '.join(map(str, grid.chunk))}",
        "voxels": " × ".join(map(str, grid.shape)),
        "spacing": " × ".join(f"{s:g}" for s in facts.spacing_um) + " µm",
        "model": known.get("model", {}),
        "normalisation": known.get("normalisation", {}),
        "versions": known.get("versions", {}),
        "run": known.get("run_id", ""),
    }
    rows = [*_flat(about), *_flat(known.get("infer", {}))]
    keys = "".join(
        f'<div><span class="soft">{escape(name)}</span><span>{escape(value)}</span></div>'
        for name, value in rows
    )
    return f'<div class="keys">{keys}</div>'


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "" if value is None else str(value)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _pair(*sections: str) -> str:
    return f'<div class="pair">{"".join(sections)}</div>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = [' class="n"' if i in numbers else "" for i in range(len(cells))]
        inside = "".join(
            f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)
        )
        return f"<tr>{inside}</tr>"

    return f"<table>{line('th', heads)}{''.join(line('td', row) for row in rows)}</table>"


def _available(sessions: Sequence[Session]) -> float:
    """Seconds in which networks could have run."""
    return sum(s.samples[-1].seconds * s.samples[-1].models for s in sessions if s.samples)


def _rate(facts: RunFacts) -> str:
    inferred = sum(s.samples[-1].inferred for s in facts.sessions if s.samples)
    return f"{inferred / facts.now.seconds:.3g}" if facts.now.seconds else "–"


def _ratio(visited: int, neurite: int) -> str:
    return f"{visited / neurite:.2f}" if neurite else "–"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.3g} %" if whole else "–"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.3g}"


def _voxels(count: int) -> str:
    scale = next(s for s in (1e12, 1e9, 1e6) if count >= s or s == 1e6)
    return f"{count / scale:,.3g} {({1e12: 'Tvoxel', 1e9: 'Gvoxel', 1e6: 'Mvoxel'})[scale]}"


def _clients_word(sessions: Sequence[Session]) -> str:
    return "client" if len(sessions) == 1 else "clients"


def _when(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _span(sessions: Sequence[Session]) -> str:
    if not sessions:
        return "never started"
    return f"{_when(float(sessions[0].start['time']))} to {_when(sessions[-1].until)}"
