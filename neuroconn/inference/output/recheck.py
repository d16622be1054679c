"""What was journalled last, looked at again when a run is resumed.

A stored core is with the system when its line is written, not on the disk (``--fsync`` puts it
there). A power cut can so take back cores that the journal speaks of, those of the last minute.
``verify`` reads all cores of a run; this looks at the last ones only, in a fraction of a second.
"""

from __future__ import annotations

import logging
from collections import deque

from neuroconn.errors import OutputError, VolumeError
from neuroconn.geometry import ZYX
from neuroconn.inference.journal.journal import Journal, Record
from neuroconn.inference.output.run_folder import RunFolder
from neuroconn.inference.task import checksum
from neuroconn.inference.watching.events import EventLog
from neuroconn.volume.address import Address, ObjectPath
from neuroconn.volume.regions import read_region
from neuroconn.volume.store import Image, open_image
from neuroconn.volume.stored import stored_size

logger = logging.getLogger(__name__)

LAST = 1024
"""Lines whose cores must be there; thousands of chunks a minute are more than one disk takes."""
READ = 32
"""Of those, the last that are read back at once; if one is not as it was, all are."""


def forget_lost(output: Address, folder: RunFolder, journal: Journal) -> int:
    """Take out of the journal what a power cut took from the disk; it will be done again.

    Parameters
    ----------
    output : path
        The map of the run.
    folder, journal : RunFolder, Journal
        Of the run; the journal is open for writing.

    Returns
    -------
    int
        Chunks that were lost.

    Raises
    ------
    OutputError
        If the map cannot be opened.
    """
    if isinstance(output, ObjectPath):  # what an object store has answered for is durable
        return 0
    try:
        image = open_image(output)
    except VolumeError as error:
        raise OutputError(f"{error}. Try neuroconn verify --repair {output}") from None
    lost = lost_cores(journal, image)
    if not lost:
        return 0
    first, events = min(lost), EventLog(folder.events)
    logger.warning(
        "%d chunks that the journal speaks of are lost (first: %s, %s); they are done again. "
        "neuroconn verify looks at all chunks.",
        len(lost),
        first,
        lost[first],
    )
    for index, reason in sorted(lost.items()):
        events.write("chunk lost", chunk=index, reason=reason)
    journal.rewrite(set(lost))
    # Coarse levels may have gone the same way.
    folder.write_report({**folder.read_report(), "pyramid_of": None})
    return len(lost)


def lost_cores(journal: Journal, image: Image) -> dict[ZYX, str]:
    """Return journalled cores that are gone or not as they were, with the reason.

    Parameters
    ----------
    journal : Journal
        Of the run.
    image : Image
        Its map.
    """
    digests = {r.index: r.digest for r in _last(journal) if r.status != "failed"}
    array, grid = image.array(0), image.grid(0)

    def why(index: ZYX) -> str:
        try:
            core = read_region(array, grid.core(index))
        except VolumeError as error:
            return str(error)
        return "" if checksum(core) == digests[index] else "its voxels are not those written"

    lost = {i: "it is gone" for i in digests if not stored_size(array, i)}
    last = [index for index in list(digests)[-READ:] if index not in lost]
    found = {index: reason for index in last if (reason := why(index))}
    if lost or found:
        rest = (index for index in digests if index not in lost and index not in last)
        found |= {index: reason for index in rest if (reason := why(index))}
    return lost | found


def _last(journal: Journal) -> list[Record]:
    ends = deque(journal.blocks(), maxlen=2)
    lines = b"".join(ends).splitlines(keepends=True)
    return [Record.from_line(line) for line in lines[-LAST:]]
