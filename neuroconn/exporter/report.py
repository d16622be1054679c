"""What an export wrote, for people and for programs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from neuroconn.config.overlay import OverlaySettings
from neuroconn.geometry import ZYX
from neuroconn.vaa3d.overlay import Window
from neuroconn.vaa3d.terafly import LevelSummary

Format = Literal["terafly", "v3draw", "tiff"]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote; its text is a table of levels."""

    output: Path
    format: Format
    dtype: str
    shape: ZYX
    peak: int
    """The brightest value a voxel can have."""
    window: Window
    """The raw intensities shown as black and white."""
    settings: OverlaySettings
    levels: tuple[LevelSummary, ...]
    """Of a TeraFly tree; a single file has one line."""
    written: int
    """Tiles (planes of a single file) this run made; 0 if the output was finished before."""
    kept: int
    """Tiles (planes) an earlier run had made."""
    seconds: float
    reused: int = 0
    """Tiles taken over from the export that was updated."""

    @property
    def threshold(self) -> int | None:
        """Tracing threshold, of 255, that background far from neurites does not pass.

        None if the overlay shows the image alone, or in colour.
        """
        if not self.settings.factor or self.settings.colour == "rgb":
            return None
        return math.ceil(255 / (1 + self.settings.factor))

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        plain = {
            name: getattr(self, name)
            for name in ("format", "dtype", "shape", "peak", "written", "kept", "reused", "seconds")
        }
        return {
            "output": str(self.output),
            **plain,
            "threshold": self.threshold,
            "window": asdict(self.window),
            "settings": self.settings.model_dump(),
            "levels": [asdict(level) for level in self.levels],
        }

    def __str__(self) -> str:
        lines = [_row("level", "voxels (z, y, x)", "µm (z, y, x)", "tiles", "empty")]
        for level in self.levels:
            voxels = " x ".join(map(str, level.shape))
            um = " x ".join(f"{s:.4g}" for s in level.spacing_um)
            lines.append(_row(level.folder, voxels, um, str(level.tiles), str(level.empty)))
        unit = "tiles" if self.format == "terafly" else "planes"
        if self.written or self.reused:
            done = f"wrote {self.output}: {self.written} {unit} in {self.seconds:.1f} s"
            done += f", {self.kept} kept" if self.kept else ""
            done += f", {self.reused} as before" if self.reused else ""
        else:
            done = f"{self.output} is complete: nothing to do"
        lines.append(done)
        lines.append(
            f"{self.dtype}, brightest {self.peak}, raw {self.window.low:g} to "
            f"{self.window.high:g} shown"
        )
        if self.threshold is not None:
            lines.append(f"tracing: start from a threshold of {self.threshold} (of 255)")
        return "\n".join(lines)


def _row(level: str, voxels: str, um: str, tiles: str, empty: str) -> str:
    return f"{level:<24}{voxels:>20}{um:>20}{tiles:>8}{empty:>8}"
