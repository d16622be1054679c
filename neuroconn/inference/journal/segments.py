"""Lines on an object store, where nothing can be appended to: numbered objects, never changed.

::

    journal/00000001-00000256.jsonl   the first 256 appends, merged
    journal/00000257.jsonl            one append
    journal/00000258.jsonl            ...

1. An append creates the object of the next number. The server lets one client create it: who comes
   second learns that it is not alone. An answered PUT is durable, and no object is ever torn.
2. When many have gathered, those of consecutive numbers are written once more as one object that
   names the range; only then are they deleted. A reader takes the widest ranges and leaves out what
   they cover, so every moment between two requests shows the same lines.
3. To replace all lines, a number is claimed, and the new lines are written as the range from 0 up
   to it: from then on they cover everything else.

A run folder that was copied here from a disk has a ``journal.jsonl``: it counts as number 0.

Each object starts with a line that names its numbers and the client, so that a client whose answer
was lost knows its own object again.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from neuroconn.errors import StorageError

logger = logging.getLogger(__name__)

GATHERED = 256
"""Appends of one client that are merged."""
SCATTERED = 64
"""Objects from which on they are merged when a client begins."""
_LARGE = 1 << 24
_AT_ONCE = 8
_NAME = re.compile(r"(\d{8,})(?:-(\d{8,}))?\.jsonl")


class Held(Protocol):
    """What segments need of the objects they are; see :class:`neuroconn.volume.objects.Objects`."""

    @property
    def at(self) -> object: ...  # noqa: D102
    def get(self, key: str) -> bytes | None: ...  # noqa: D102
    def size(self, key: str) -> int | None: ...  # noqa: D102
    def create(self, key: str, data: bytes) -> bool: ...  # noqa: D102
    def delete(self, *keys: str) -> None: ...  # noqa: D102
    def list(self, prefix: str) -> Iterator[tuple[str, int]]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Segment:
    """An object with the lines of one append or of several."""

    first: int
    last: int
    size: int
    """Bytes of its lines."""

    @property
    def name(self) -> str:
        """Its key, without what all of them start with."""
        if self.first == self.last:
            return f"{self.first:08d}.jsonl"
        return f"{self.first:08d}-{self.last:08d}.jsonl"


class Segments:
    """The lines of one name.

    Parameters
    ----------
    objects : Objects, or what behaves like them
        The run folder.
    name : str
        ``journal``, ``seeds``, ...
    """

    def __init__(self, objects: Held, name: str) -> None:
        self._objects = objects
        self._name = name
        self._client = uuid.uuid4().hex
        self._segments: list[Segment] = []
        self._covered: list[Segment] = []
        self._gathered: list[tuple[Segment, bytes]] = []
        self._lost: set[Segment] = set()
        self.look()

    @property
    def where(self) -> str:
        """Address, for people."""
        return f"{self._objects.at}/{self._name}"

    def look(self) -> None:
        """See what is there now."""
        found = []
        copied = self._objects.size(f"{self._name}.jsonl")
        if copied is not None:
            found.append(Segment(0, 0, copied))
        for key, size in self._objects.list(f"{self._name}/"):
            match = _NAME.fullmatch(key.rsplit("/", 1)[-1])
            if match:
                first, last = int(match[1]), int(match[2] or match[1])
                lines = size - len(_head(first, last, self._client))
                found.append(Segment(first, last, lines))
        whole, self._covered = choose(found)
        self._segments = [segment for segment in whole if segment not in self._lost]

    def tidy(self) -> None:
        """Delete what a crash left, and merge what has become many objects."""
        self._delete(self._covered)
        self._covered = []
        if len(self._segments) > SCATTERED:
            for group in groups(self._segments):
                bodies = [body for *_, body in self._fetched((0, s) for s in group)]
                if None not in bodies:
                    self._merge(group, b"".join(body for body in bodies if body))

    def append(self, data: bytes) -> bool:
        """Store lines; returns False if another client has stored something meanwhile.

        Raises
        ------
        StorageError
            If the server refuses.
        """
        number = self._segments[-1].last + 1 if self._segments else 1
        segment = Segment(number, number, len(data))
        if not self._create(segment, data):
            self._gathered.clear()  # what is merged follows one on the other
            return False
        self._segments.append(segment)
        self._gathered.append((segment, data))
        if len(self._gathered) >= GATHERED:
            segments, bodies = zip(*self._gathered, strict=True)
            self._gathered.clear()
            with suppress(StorageError):  # it can be done another day
                self._merge(segments, b"".join(bodies))
        return True

    def replace(self, blocks: Iterable[bytes]) -> bool:
        """Put other lines in place of all, whole or not at all; False as for :meth:`append`."""
        body = b"".join(blocks)
        self._gathered.clear()
        if not self.append(b""):
            return False
        self._gathered.clear()
        return self._supersede(self._segments, Segment(0, self._segments[-1].last, len(body)), body)

    @property
    def size(self) -> int:
        """Bytes of all lines that were there at the last look."""
        return sum(segment.size for segment in self._segments)

    def blocks(self, skip: int = 0) -> Iterator[bytes]:
        """Lines in the order of writing, an object or less at a time.

        Parameters
        ----------
        skip : int, optional
            Bytes of lines to leave out; what lies before is not fetched. Merging changes no
            position.
        """
        self._warn_of_gaps()
        while True:
            for at, gone, body in self._fetched(self._from(skip)):  # noqa: B007
                if body is None:
                    break
                if len(body) > skip - at:
                    yield body[max(0, skip - at) :]
                skip = max(skip, at + len(body))
            else:
                return
            self._look_again(gone)

    def _look_again(self, gone: Segment) -> None:
        """Find the lines of an object that is gone: merged with others, most likely."""
        self.look()
        if gone in self._segments and self._body(gone) is None:
            logger.warning("%s/%s is listed and not there", self.where, gone.name)
            self._lost.add(gone)
            self._segments.remove(gone)

    def _from(self, skip: int) -> list[tuple[int, Segment]]:
        """Segments with lines behind a position, with their own positions."""
        found, at = [], 0
        for segment in self._segments:
            if at + segment.size > skip:
                found.append((at, segment))
            at += segment.size
        return found

    def _fetched(
        self, segments: Iterable[tuple[int, Segment]]
    ) -> Iterator[tuple[int, Segment, bytes | None]]:
        """Bodies in order, several on their way; None for one that is gone."""
        waiting: deque[tuple[int, Segment, Future[bytes | None]]] = deque()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for at, segment in segments:
                waiting.append((at, segment, pool.submit(self._body, segment)))
                if len(waiting) > _AT_ONCE:
                    start, first, future = waiting.popleft()
                    yield start, first, future.result()
            while waiting:
                start, first, future = waiting.popleft()
                yield start, first, future.result()

    def _body(self, segment: Segment) -> bytes | None:
        data = self._objects.get(self._key(segment))
        if data is None:
            return None
        # A damaged first line is no line of ours, and the reader passes over it like over others.
        return data.partition(b"\n")[2] if data.startswith(b'{"segment"') else data

    def _key(self, segment: Segment) -> str:
        return f"{self._name}.jsonl" if not segment.last else f"{self._name}/{segment.name}"

    def _create(self, segment: Segment, body: bytes) -> bool:
        head = _head(segment.first, segment.last, self._client)
        return self._objects.create(self._key(segment), head + body)

    def _merge(self, segments: Sequence[Segment], body: bytes) -> None:
        whole = Segment(segments[0].first, segments[-1].last, len(body))
        if len(segments) > 1:
            self._supersede(segments, whole, body)

    def _supersede(self, segments: Sequence[Segment], whole: Segment, body: bytes) -> bool:
        if not self._create(whole, body):
            return False
        gone = list(segments)
        kept = [s for s in self._segments if s.last < whole.first or s.first > whole.last]
        self._segments = sorted([*kept, whole], key=lambda s: s.first)
        self._delete(gone)
        return True

    def _delete(self, segments: Iterable[Segment]) -> None:
        keys = [self._key(segment) for segment in segments]
        if keys:
            self._objects.delete(*keys)

    def _warn_of_gaps(self) -> None:
        expected = 1
        for segment in self._segments:
            if segment.first > expected:
                logger.warning(
                    "%s lacks numbers %d to %d: what they said is lost, and is found out again",
                    self.where,
                    expected,
                    segment.first - 1,
                )
            expected = segment.last + 1


class SegmentTail:
    """What is new since the last look; each object is fetched once.

    Parameters
    ----------
    segments : Segments
        The lines of a client that may be at work.
    keep : callable, optional
        Says which lines are sound.

    Attributes
    ----------
    cut : bool
        Whether lines that were read are no longer there, as after a repair.
    """

    def __init__(self, segments: Segments, keep: Callable[[bytes], bool] | None = None) -> None:
        self._segments = segments
        self._keep = keep
        self._read = 0
        self.cut = False

    def block(self) -> bytes:
        """Return new whole lines; empty if there are none."""
        self._segments.look()
        self.cut = self._segments.size < self._read
        fresh = b"".join(self._segments.blocks(self._read))
        self._read += len(fresh)
        if self._keep is None:
            return fresh
        return b"".join(line for line in fresh.splitlines(keepends=True) if self._keep(line))


def _head(first: int, last: int, client: str) -> bytes:
    """First line of an object; as long for every client."""
    return json.dumps({"segment": [first, last], "client": client}).encode() + b"\n"


def choose(segments: Iterable[Segment]) -> tuple[list[Segment], list[Segment]]:
    """Tell the segments that hold all lines from those that others cover.

    Examples
    --------
    >>> whole, covered = choose([Segment(1, 1, 9), Segment(1, 2, 18), Segment(3, 3, 9)])
    >>> [s.name for s in whole], [s.name for s in covered]
    (['00000001-00000002.jsonl', '00000003.jsonl'], ['00000001.jsonl'])
    """
    whole: list[Segment] = []
    covered: list[Segment] = []
    for segment in sorted(segments, key=lambda s: (s.first, -s.last)):
        inside = whole and segment.last <= whole[-1].last
        (covered if inside else whole).append(segment)
    return whole, covered


def groups(segments: Sequence[Segment], largest: int = _LARGE) -> Iterator[list[Segment]]:
    """Yield runs of consecutive segments that together are not large.

    Examples
    --------
    >>> [len(group) for group in groups([Segment(i, i, 10) for i in range(1, 8)], largest=30)]
    [3, 3]
    """
    group: list[Segment] = []
    for segment in segments:
        follows = group and group[-1].last + 1 == segment.first
        if group and (not follows or sum(s.size for s in group) + segment.size > largest):
            if len(group) > 1:
                yield group
            group = []
        group.append(segment)
    if len(group) > 1:
        yield group
