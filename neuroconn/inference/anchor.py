"""Whether brain and output are still the ones a run started with.

An object of a folder that is gone reads as fill value, which is to say dark, and a write into it
would make it anew. So a worker looks at one small file for every chunk that it reads or writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from neuroconn.errors import StorageError, VolumeError
from neuroconn.inference.identity import brain_identity, digest
from neuroconn.volume.address import ObjectPath
from neuroconn.volume.objects import Objects
from neuroconn.volume.store import Image, open_image

if TYPE_CHECKING:
    from neuroconn.inference.plan import Plan

_LOOK_AGAIN_S = 10.0


class Anchor:
    """Notices that a folder was moved away, unmounted, or put in another's place.

    Objects of a folder that is gone read as fill value, and writes into it would make it anew.

    Parameters
    ----------
    image : Image
        What must stay there.
    what : str
        What it is to the run: ``the brain``, ``the output``.
    same : callable
        Says whether the image that is there now is the same; asked only after its metadata file
        was replaced.
    """

    def __init__(self, image: Image, what: str, same: Callable[[], bool]) -> None:
        self._path = image.path
        self._key = "zarr.json" if image.zarr_format == 3 else ".zattrs"
        self._what = what
        self._same = same
        self._stamp = self._look()
        self._looked = time.monotonic()

    def check(self, *, closely: bool = False) -> None:
        """Look again; at an object store, where that is a request, every few seconds only.

        Parameters
        ----------
        closely : bool, optional
            Look in any case.

        Raises
        ------
        StorageError
            If it is not the one it was.
        """
        far = isinstance(self._path, ObjectPath)
        if far and not closely and time.monotonic() - self._looked < _LOOK_AGAIN_S:
            return
        now, self._looked = self._look(), time.monotonic()
        if now == self._stamp:
            return
        if now is None or not self._same():
            state = "gone" if now is None else "not the one this run started with"
            raise StorageError(
                f"{self._what} {self._path} is {state}: unmounted, moved, or made anew"
            )
        self._stamp = now

    def _look(self) -> Hashable | None:
        """Return what tells one version of the metadata from another, without comparing clocks."""
        if isinstance(self._path, ObjectPath):
            return Objects(self._path).tag(self._key)
        file = self._path / self._key
        try:
            found = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"cannot look at {file}: {error.strerror}") from error
        return found.st_ino, found.st_size, found.st_mtime_ns


def require_brain(plan: Plan) -> None:
    """Check that the brain of a plan is the one at its path.

    Raises
    ------
    VolumeError
        If it is not: the chunks of this worker would not fit those of the others.
    """
    open_image(plan.brain)  # says by itself what is wrong with metadata
    if not is_brain(plan):
        raise VolumeError(
            f"{plan.brain} is not the brain this run started with: other voxels, or another copy "
            "at the same path. Put the same brain there on every worker."
        )


def is_brain(plan: Plan) -> bool:
    """Whether the brain of a plan is at its path; a plan that does not say takes any."""
    if not plan.brain_digest:
        return True
    try:
        return digest(brain_identity(open_image(plan.brain), plan.level)) == plan.brain_digest
    except VolumeError:
        return False


def is_output(plan: Plan) -> bool:
    """Whether the output of a plan is at its path."""
    try:
        return open_image(plan.output).attributes.get("run_id") == plan.run_id
    except VolumeError:
        return False
