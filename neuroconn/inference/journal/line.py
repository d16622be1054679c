"""What the journal says of one finished chunk, as a line of text with its checksum."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from neuroconn.geometry import ZYX
from neuroconn.inference.verdict import Verdict

Status: TypeAlias = Literal["neurite", "empty", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one finished chunk.

    Examples
    --------
    >>> line = Record((0, 1, 2), "neurite", strong=1, weak=3, voxels=50, digest=7).to_line()
    >>> Record.from_line(line).verdict
    Verdict(neurite=True, strong=1, weak=3, voxels=50)
    """

    index: ZYX
    status: Status
    strong: int = 0
    weak: int = 0
    voxels: int = 0
    digest: int = 0
    """CRC-32 of the stored core."""
    attempt: int = 1
    seconds: float = 0.0
    elided: bool = False
    """Whether the core holds only fill values, so that the store keeps no object for it."""
    absent: int = 0
    """Voxels of the core in objects that the brain does not store, which were read as fill."""
    damaged: tuple[ZYX, ...] = ()
    """Damaged objects of the brain, in the tile, that were read as fill."""

    @classmethod
    def from_verdict(cls, index: ZYX, verdict: Verdict, **rest: Any) -> Record:
        """Record a verdict; ``rest`` are digest, attempt, seconds and elided."""
        status: Status = "neurite" if verdict.neurite else "empty"
        return cls(index, status, verdict.strong, verdict.weak, verdict.voxels, **rest)

    @classmethod
    def from_line(cls, line: bytes) -> Record:
        """Parse a line with its newline.

        Raises
        ------
        ValueError
            If the line is cut short or its checksum is wrong.
        """
        if not line.endswith(b"\n") or line[:9] != b"%08x " % zlib.crc32(line[9:-1]):
            raise ValueError("the record is torn or damaged")
        fields = json.loads(line[9:-1])
        z, y, x = fields.pop("zyx")
        fields["elided"] = bool(fields.get("elided", 0))
        fields["damaged"] = tuple((a, b, c) for a, b, c in fields.get("damaged", ()))
        return cls((z, y, x), **fields)

    def to_line(self) -> bytes:
        """Return the line that says this, ASCII, with its newline."""
        z, y, x = self.index
        # Ten times as fast as `json`, which the rare fields at the end are left to.
        fields = (
            f'{{"zyx":[{z},{y},{x}],"status":"{self.status}","strong":{self.strong},'
            f'"weak":{self.weak},"voxels":{self.voxels},"digest":{self.digest},'
            f'"attempt":{self.attempt},"seconds":{round(self.seconds, 3)!r},'
            f'"elided":{int(self.elided)}'
        )
        # Nearly all brains are whole: their lines stay short.
        if self.absent:
            fields += f',"absent":{self.absent}'
        if self.damaged:
            fields += f',"damaged":{json.dumps(self.damaged, separators=(",", ":"))}'
        text = (fields + "}").encode("ascii")
        return b"%08x %s\n" % (zlib.crc32(text), text)

    @property
    def verdict(self) -> Verdict:
        """The verdict, as the frontier wants it.

        Raises
        ------
        ValueError
            If the chunk failed: there is no verdict.
        """
        if self.status == "failed":
            raise ValueError(f"chunk {self.index} failed, so it has no verdict")
        return Verdict(self.status == "neurite", self.strong, self.weak, self.voxels)
