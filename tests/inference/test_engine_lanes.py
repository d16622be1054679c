"""Tiles on their way through a device: copies beside computation, buffers never shared.

There is no GPU here. Its three streams are played by three threads, each with a queue; what they do
in which order is that of the real ones.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.inference.encoding import Encoding
from neuroconn.inference.engine.lanes import HostLane, Lanes, Mark, StreamLane, lanes_of
from neuroconn.inference.engine.slots import Slots
from neuroconn.inference.engine.torch_engine import Engine
from neuroconn.network import Constants, Model, ModelCard, Normalisation, UNet


class ThreadMark:
    def __init__(self, future: "Future[None]") -> None:
        self._future = future

    @property
    def seconds(self) -> float:
        return 1.0

    def wait(self) -> None:
        self._future.result(timeout=20)


@dataclass
class ThreadLane:
    """Work in order, in a thread of its own, after the marks it waits for: a stream."""

    name: str
    log: list[tuple[str, str]] = field(default_factory=list)
    pause: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def run(self, work: Callable[[], None], *after: Mark) -> ThreadMark:
        def step() -> None:
            for mark in after:
                mark.wait()
            self.log.append((self.name, "start"))
            self.pause()
            work()
            self.log.append((self.name, "end"))

        return ThreadMark(self._pool.submit(step))

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def device() -> Iterator[Lanes]:
    """Lanes like those of a GPU, whose every step is logged in one list."""
    log: list[tuple[str, str]] = []
    lanes = [ThreadLane(name, log) for name in ("up", "compute", "down")]
    yield Lanes(torch.device("cpu"), *lanes, staged=True)
    for lane in lanes:
        lane.close()


def doubled(x: Tensor) -> tuple[Tensor, Tensor]:
    return (x.float() * 2).to(torch.int32), torch.ones(())


def tiles(count: int) -> list[NDArray[np.uint16]]:
    return [np.full((4, 5, 6), i, np.uint16) + np.arange(6, dtype=np.uint16) for i in range(count)]


def through(slots: Slots, some: list[NDArray[np.uint16]], work: object = doubled) -> list[object]:
    with ThreadPoolExecutor(len(some)) as pool:
        futures = [pool.submit(slots.run, tile, work) for tile in some]  # type: ignore[arg-type]
        return [future.result(timeout=30)[0] for future in futures]


def test_every_tile_comes_back_as_itself_however_many_are_under_way(device: Lanes) -> None:
    some = tiles(40)

    found = through(Slots(device, 3), some)

    for tile, out in zip(some, found, strict=True):
        np.testing.assert_array_equal(out, tile.astype(np.int32) * 2)


def test_one_tile_is_copied_in_while_another_is_computed(device: Lanes) -> None:
    second_is_there = threading.Event()
    sent: list[int] = []

    def count() -> None:
        sent.append(1)
        if len(sent) == 2:
            second_is_there.set()

    device.up.pause = count  # type: ignore[attr-defined]
    # The first computation ends only when the second tile is on its way: in turn, it never would.
    device.compute.pause = lambda: second_is_there.wait(20)  # type: ignore[attr-defined]

    through(Slots(device, 2), tiles(2))

    log = device.up.log  # type: ignore[attr-defined]
    assert second_is_there.is_set()
    assert log.index(("compute", "end")) > [i for i, e in enumerate(log) if e == ("up", "start")][1]


def test_a_buffer_is_not_written_to_while_a_copy_still_reads_it(device: Lanes) -> None:
    """With one slot the second tile may not be staged before the first has come back."""
    device.up.pause = lambda: time.sleep(0.002)  # type: ignore[attr-defined]
    device.down.pause = lambda: time.sleep(0.002)  # type: ignore[attr-defined]
    some = tiles(8)

    found = through(Slots(device, 1), some)

    for tile, out in zip(some, found, strict=True):
        np.testing.assert_array_equal(out, tile.astype(np.int32) * 2)
    log = device.up.log  # type: ignore[attr-defined]
    assert [name for name, what in log if what == "start"] == ["up", "compute", "down"] * 8


def test_a_map_that_was_handed_out_is_not_overwritten(device: Lanes) -> None:
    slots = Slots(device, 1)
    first, second = tiles(2)

    kept, _, _ = slots.run(first, doubled)
    before = kept.copy()
    slots.run(second, doubled)

    np.testing.assert_array_equal(kept, before)


def test_a_failed_tile_frees_its_slot(device: Lanes) -> None:
    slots = Slots(device, 1)

    def broken(x: Tensor) -> tuple[Tensor, Tensor]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        slots.run(tiles(1)[0], broken)

    assert slots.run(tiles(1)[0], doubled)[0].shape == (4, 5, 6)


def test_the_number_beside_the_map_and_the_time_come_back_too(device: Lanes) -> None:
    def spoilt(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.float(), torch.tensor(float("nan"))

    _, finite, seconds = Slots(device).run(tiles(1)[0], spoilt)

    assert not finite
    assert seconds == 1.0


def test_a_cpu_works_in_the_calling_thread_and_copies_nothing() -> None:
    lanes = lanes_of("cpu")
    tile = tiles(1)[0].astype(np.float32)

    where: list[threading.Thread] = []

    def unchanged(x: Tensor) -> tuple[Tensor, Tensor]:
        where.append(threading.current_thread())
        return x, torch.zeros(())

    found, finite, _ = Slots(lanes).run(tile, unchanged)

    assert where == [threading.current_thread()]
    assert np.shares_memory(found, tile)
    assert finite
    assert lanes is lanes_of("cpu")
    assert isinstance(lanes.compute, HostLane)


def test_an_engine_on_such_a_device_answers_as_on_a_cpu(device: Lanes) -> None:
    torch.manual_seed(0)
    card = ModelCard(name="test", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
    model = Model(UNet(levels=1, width=4).eval(), card)
    constants, encoding = Constants("asinh", 100, 50), Encoding("uint16", 10.0)
    engine = Engine(model, device="cpu", precision="float32", tile=(16, 16, 16), trim=2)
    random = np.random.default_rng(0)
    some = [random.integers(90, 900, (16, 16, 16)).astype(np.uint16) for _ in range(9)]
    expected = [engine.predict_codes(tile, constants, encoding).codes for tile in some]

    # Grey values are sent as they are and normalised there.
    found = through(Slots(device, 3), some, engine.work(constants, encoding))

    for codes, right in zip(found, expected, strict=True):
        assert codes.dtype == np.uint16  # type: ignore[attr-defined]
        # torch and numpy differ in the last bit of asinh; a code is 1/6500 voxel.
        np.testing.assert_allclose(np.asarray(codes, int), right.astype(int), atol=1)


class FakeEvent:
    """An event of CUDA, which notes what is done with it."""

    def __init__(self, enable_timing: bool) -> None:
        self.timed, self.done = enable_timing, False

    def record(self, stream: "FakeStream") -> None:
        stream.log.append("record")

    def synchronize(self) -> None:
        self.done = True

    def elapsed_time(self, other: "FakeEvent") -> float:
        return 250.0


class FakeStream:
    def __init__(self, device: torch.device) -> None:
        self.device, self.log = device, list[str]()

    def wait_event(self, event: FakeEvent) -> None:
        self.log.append("wait")

    def __enter__(self) -> None:
        self.log.append("enter")

    def __exit__(self, *error: object) -> None:
        self.log.append("exit")


def test_a_stream_waits_for_marks_and_times_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    up, compute = StreamLane(torch.device("cuda")), StreamLane(torch.device("cuda"))

    there = up.run(lambda: None)
    mark = compute.run(lambda: compute._stream.log.append("work"), there)
    mark.wait()

    assert compute._stream.log == ["enter", "wait", "record", "work", "record", "exit"]
    assert mark.end.done
    assert mark.seconds == 0.25
