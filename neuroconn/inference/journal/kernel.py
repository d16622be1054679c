"""Reading lines of the journal, compiled: a million in a second instead of a quarter of a minute.

It knows the lines that ``journal_line.Record`` writes, byte by byte. Any other line with a right
checksum is left to ``Record.from_line``.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

FIELDS = ("z", "y", "x", "status", "strong", "weak", "voxels", "digest", "attempt", "elided")
"""Integers of a line, in its order; ``absent`` follows, and is 0 where it is not said."""
ABSENT = len(FIELDS)

_MOST_DIGITS = 15  # a float64 holds all such integers, so that a fraction is rounded only once
_NEWLINE, _ZERO, _NINE, _DOT = 10, 48, 57, 46
_HEAD = 9  # checksum and space


def _crc_table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ 0xEDB88320, table >> 1).astype(np.uint32)
    return table


def _ascii(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("ascii"), np.uint8)


_TABLE = _crc_table()
_HEX = _ascii("0123456789abcdef")
_STATUS = (_ascii("neurite"), _ascii("empty"), _ascii("failed"))
_START, _COMMA, _WORD = _ascii('{"zyx":['), _ascii(","), _ascii('],"status":"')
_STRONG, _WEAK, _VOXELS = _ascii('","strong":'), _ascii(',"weak":'), _ascii(',"voxels":')
_DIGEST, _ATTEMPT, _SECONDS = _ascii(',"digest":'), _ascii(',"attempt":'), _ascii(',"seconds":')
_ELIDED, _ABSENT, _END = _ascii(',"elided":'), _ascii(',"absent":'), _ascii("}")


@njit(cache=True, nogil=True)
def sound_lines(data: NDArray[np.uint8]) -> tuple[int, int]:
    """Count the whole lines before the first bad one, and the bytes they take."""
    lines = at = 0
    while True:
        stop = _line_end(data, at)
        if stop < 0 or not _checked(data, at, stop):
            return lines, at
        lines, at = lines + 1, stop + 1


@njit(cache=True, nogil=True)
def read_lines(
    data: NDArray[np.uint8],
    numbers: NDArray[np.int64],
    seconds: NDArray[np.float64],
    unread: NDArray[np.int64],
) -> int:
    """Read lines that are known to be sound.

    Parameters
    ----------
    data : bytes of n lines
        With a newline behind each.
    numbers : (n, len(FIELDS) + 1) array
        Filled with the integers of each line; a status is its place in ``journal_line.STATUSES``.
    seconds : (n,) array
        Filled likewise.
    unread : (n, 3) array
        Filled with number, start and end of the lines that are not as ``Record`` writes them.

    Returns
    -------
    int
        How many those are.
    """
    at = strange = 0
    for n in range(len(numbers)):
        stop = _line_end(data, at)
        if not _read_line(data, at + _HEAD, stop, numbers[n], seconds[n : n + 1]):
            unread[strange, 0], unread[strange, 1], unread[strange, 2] = n, at, stop + 1
            strange += 1
        at = stop + 1
    return strange


@njit(cache=True, nogil=True)
def first_of_each(
    positions: NDArray[np.int64],
    failed: NDArray[np.bool_],
    digests: NDArray[np.uint32],
    seen: NDArray[np.uint8],
    known: NDArray[np.uint32],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pick the records that count: the first of each chunk, and the first that did not fail.

    Parameters
    ----------
    positions, failed, digests : (n,) arrays
        Records in the order of writing.
    seen, known : arrays over the chunks
        What earlier calls saw: nothing, a failure or a result, and the digest of the result.

    Returns
    -------
    counts, conflicts : (n,) bool arrays
        Records that count, and those whose digest differs from that of their chunk.
    """
    nothing, failure, result = 0, 1, 2
    counts = np.zeros(positions.size, np.bool_)
    conflicts = np.zeros(positions.size, np.bool_)
    for i in range(positions.size):
        at = positions[i]
        if failed[i]:
            counts[i] = seen[at] == nothing
            seen[at] = max(seen[at], failure)
        elif seen[at] == result:
            conflicts[i] = known[at] != digests[i]
        else:
            counts[i] = True
            seen[at], known[at] = result, digests[i]
    return counts, conflicts


@njit(cache=True, nogil=True)
def _read_line(
    data: NDArray[np.uint8],
    at: int,
    stop: int,
    numbers: NDArray[np.int64],
    seconds: NDArray[np.float64],
) -> bool:
    numbers[ABSENT] = 0
    at = _integer(data, _word(data, at, _START), numbers[0:])
    at = _integer(data, _word(data, at, _COMMA), numbers[1:])
    at = _integer(data, _word(data, at, _COMMA), numbers[2:])
    at = _status(data, _word(data, at, _WORD), numbers[3:])
    at = _integer(data, _word(data, at, _STRONG), numbers[4:])
    at = _integer(data, _word(data, at, _WEAK), numbers[5:])
    at = _integer(data, _word(data, at, _VOXELS), numbers[6:])
    at = _integer(data, _word(data, at, _DIGEST), numbers[7:])
    at = _integer(data, _word(data, at, _ATTEMPT), numbers[8:])
    at = _fraction(data, _word(data, at, _SECONDS), seconds)
    at = _integer(data, _word(data, at, _ELIDED), numbers[9:])
    further = _word(data, at, _ABSENT)
    if further >= 0:
        at = _integer(data, further, numbers[ABSENT:])
    return _word(data, at, _END) == stop


@njit(cache=True, nogil=True)
def _line_end(data: NDArray[np.uint8], at: int) -> int:
    """Position of the next newline, or -1."""
    for i in range(at, data.size):
        if data[i] == _NEWLINE:
            return i
    return -1


@njit(cache=True, nogil=True)
def _checked(data: NDArray[np.uint8], at: int, stop: int) -> bool:
    """Whether a line begins with the checksum of the rest of it, and a space."""
    if stop < at + _HEAD or data[at + _HEAD - 1] != 32:
        return False
    crc = np.uint32(0xFFFFFFFF)
    for i in range(at + _HEAD, stop):
        crc = _TABLE[(crc ^ data[i]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    crc = ~crc
    right = 0
    for i in range(8):
        right += data[at + i] == _HEX[(crc >> np.uint32(28 - 4 * i)) & np.uint32(0xF)]
    return right == 8


@njit(cache=True, nogil=True)
def _word(data: NDArray[np.uint8], at: int, word: NDArray[np.uint8]) -> int:
    """Position behind a word, or -1 if it does not stand at ``at``, or ``at`` is negative."""
    if at < 0 or at + word.size > data.size:
        return -1
    for i in range(word.size):
        if data[at + i] != word[i]:
            return -1
    return at + word.size


@njit(cache=True, nogil=True)
def _integer(data: NDArray[np.uint8], at: int, out: NDArray[np.int64]) -> int:
    """Position behind an integer without sign, which is stored in ``out[0]``; or -1."""
    value, start = np.int64(0), at
    while 0 <= at < data.size and _ZERO <= data[at] <= _NINE:
        value = 10 * value + np.int64(data[at] - _ZERO)
        at += 1
        if at - start > _MOST_DIGITS:
            return -1
    if at <= start or (data[start] == _ZERO and at > start + 1):
        return -1
    out[0] = value
    return at


@njit(cache=True, nogil=True)
def _fraction(data: NDArray[np.uint8], at: int, out: NDArray[np.float64]) -> int:
    """Position behind a number like 12.345, which is stored in ``out[0]``; or -1."""
    value, scale, start, dots = np.int64(0), 1.0, at, 0
    while 0 <= at < data.size and (_ZERO <= data[at] <= _NINE or data[at] == _DOT):
        if data[at] == _DOT:
            dots += 1
        else:
            value = 10 * value + np.int64(data[at] - _ZERO)
            scale *= 10.0 if dots else 1.0
        at += 1
        if at - start > _MOST_DIGITS or dots > 1:
            return -1
    if at <= start or data[start] == _DOT or data[at - 1] == _DOT:
        return -1
    out[0] = value / scale
    return at


@njit(cache=True, nogil=True)
def _status(data: NDArray[np.uint8], at: int, out: NDArray[np.int64]) -> int:
    """Position behind a status, whose number is stored in ``out[0]``; or -1."""
    for number in range(len(_STATUS)):
        after = _word(data, at, _STATUS[number])
        if after >= 0:
            out[0] = number
            return after
    return -1
