"""From runs to a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from rows import OURS, OURS_SPEED, ROWS, Row

HEAD = (
    "row",
    "wall s (least)",
    "+ sync s",
    "/ floor",
    "durable / floor",
    "/ ours",
    "/ ours, speed",
    "CPU s",
    "CPU / floor",
    "peak MiB",
    "MB",
    "files",
    "codec, chunk in shard",
    "lacks",
)


def middle(runs: Iterable[dict[str, Any]], key: str) -> float:
    """Median of a figure over the rounds."""
    return median(run[key] for run in runs)


def floors(parts: dict[str, list[dict[str, Any]]], cores: int) -> dict[str, dict[str, float]]:
    """Return wall, durable wall and processor seconds of the floor, by ``row_floor`` name."""
    found = {}
    for row in ROWS:
        name = row_floor(row)
        level = "" if row.levels else "_level_0"
        needed = (f"R {row.source}", f"E {row.codec}", f"W {row.codec}{level}")
        if name in found or not all(parts.get(part) for part in needed):
            continue
        reading, encoding, writing = (parts[part] for part in needed)
        cpu = middle(reading, "cpu_s") + middle(encoding, f"cpu_s{level}")
        found[name] = {
            "R": middle(reading, "cpu_s"),
            "E": middle(encoding, f"cpu_s{level}"),
            "W": middle(writing, "wall"),
            "W and sync": middle(writing, "durable"),
            "cpu": cpu,
            "wall": max(middle(writing, "wall"), cpu / cores),
            "durable": max(middle(writing, "durable"), cpu / cores),
        }
    return found


def row_floor(row: Row) -> str:
    """Name of the floor of a row."""
    return f"{row.source}, {row.codec}, {'4 levels' if row.levels else 'level 0'}"


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    cores = found["settings"]["threads"]
    least = floors(found["floor"], cores)
    lines = [_volume(found), "", *_floor_lines(least), "", _line(HEAD), _line(["---"] * len(HEAD))]
    for row in ROWS:
        result = found["rows"].get(row.name)
        if result is None:
            continue
        if not result["runs"]:
            lines.append(_line([row.name, f"failed: {result['error']}"] + [""] * (len(HEAD) - 2)))
            continue
        lines.append(_line(_cells(row, result, least.get(row_floor(row)), found["rows"])))
    return "\n".join([*lines, "", *_notes(found)]) + "\n"


def _volume(found: dict[str, Any]) -> str:
    z, y, x = found["settings"]["shape"]
    return (
        f"{z} x {y} x {x} uint16 = {2 * z * y * x / 1e9:.3f} GB; {found['settings']['rounds']} "
        f"interleaved rounds, medians; {found['settings']['threads']} threads; "
        f"{found['machine']['processor']}, {found['machine']['system']}"
    )


def _floor_lines(least: dict[str, dict[str, float]]) -> list[str]:
    head = ["floor", "R CPU-s", "E CPU-s", "W s", "W and sync s", "floor s", "durable floor s"]
    keys = ("R", "E", "W", "W and sync", "wall", "durable")
    rows = [_line([name, *(f"{part[key]:.2f}" for key in keys)]) for name, part in least.items()]
    return [_line(head), _line(["---"] * len(head)), *rows]


def _cells(
    row: Row, result: dict[str, Any], least: dict[str, float] | None, rows: dict[str, Any]
) -> list[str]:
    runs = result["runs"]
    wall = middle(runs, "wall")
    durable = median(run["wall"] + run["sync"] for run in runs)
    cpu = middle(runs, "cpu")
    compared = least if not row.of else None
    return [
        row.name,
        f"{wall:.2f} ({min(run['wall'] for run in runs):.2f})",
        f"{durable - wall:.2f}",
        _ratio(wall, compared and compared["wall"]),
        _ratio(durable, compared and compared["durable"]),
        _ratio(durable, _durable(rows, OURS)),
        _ratio(durable, _durable(rows, OURS_SPEED)),
        f"{cpu:.2f}",
        _ratio(cpu, compared and compared["cpu"]),
        f"{middle(runs, 'peak_bytes') / 2**20:.0f}",
        f"{middle(runs, 'bytes') / 1e6:.0f}" if not row.of else "",
        f"{middle(runs, 'files'):.0f}" if not row.of else "",
        _layout(result.get("check")),
        ", ".join(lacks(result["check"])) if result.get("check") else "",
    ]


def _durable(rows: dict[str, Any], name: str) -> float | None:
    runs = rows.get(name, {}).get("runs")
    return median(run["wall"] + run["sync"] for run in runs) if runs else None


def _ratio(value: float, base: float | None) -> str:
    return f"{value / base:.2f}" if base else ""


def _layout(check: dict[str, Any] | None) -> str:
    if not check:
        return ""
    chunk, shard = _sides(check["chunk"]), check["shard"]
    return f"{check['codec']}, {chunk}" + (f" in {_sides(shard)}" if shard else "")


def _sides(shape: list[int]) -> str:
    return str(shape[0]) if len(set(shape)) == 1 else " x ".join(map(str, shape))


def lacks(check: dict[str, Any]) -> list[str]:
    """Name what an output does not have that ours has."""
    shapes, found = check["shapes"], []
    if len(shapes) < 4:
        found.append(f"{4 - len(shapes)} levels")
    if len(shapes) > 1 and shapes[1][0] == shapes[0][0]:
        found.append("z not halved")
    if len(shapes) > 1 and check["method"] != "max":
        found.append(f"max ({check['method']})")
    if check["method"] == "max" and not check["max_at_every_level"]:
        found.append("max above level 1")
    if check["shift"] == "none":
        found.append("translations")
    elif check["shift"] == "half voxel more":
        found.append("right translations (all half a voxel too far)")
    elif check["shift"] == "other":
        found.append("right translations")
    if not check["shard"] or check["shard"] == check["chunk"]:
        found.append("shards")
    if not check["checksum"]:
        found.append("checksums of chunks")
    if check["axes"] != "zyx":
        found.append(f"z, y, x axes ({check['axes']})")
    if check["ome_version"] == "none":
        found.append("OME metadata")
    return found


def _notes(found: dict[str, Any]) -> list[str]:
    notes = []
    rows = found["rows"]
    for name, result in rows.items():
        starts = [run["startup"] for run in result["runs"] if "startup" in run]
        if starts:
            notes.append(f"{name}: {median(starts):.1f} s of its wall are its start.")
    verify, ours = rows.get("neuroconn verify"), _durable(rows, OURS)
    if verify and verify["runs"] and ours:
        share = middle(verify["runs"], "wall") / ours
        notes.append(f"Verifying takes {share:.2f} of the time of converting.")
    for kind in ("lzw", "zlib"):
        result = rows.get(f"neuroconn, {kind.replace('lzw', 'LZW')} source")
        reading = found["floor"].get(f"R {kind}")
        if result and result["runs"] and reading:
            wall = middle(result["runs"], "wall") / middle(reading, "wall")
            cpu = middle(result["runs"], "cpu") / middle(reading, "cpu_s")
            notes.append(
                f"{kind} source: {wall:.2f} x the wall time of decoding it alone with "
                f"{found['settings']['threads']} threads, {cpu:.2f} x its CPU time."
            )
    notes += [f"{name}: {result['error']}" for name, result in rows.items() if result.get("error")]
    return [f"* {note}" for note in notes]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
