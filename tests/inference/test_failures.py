"""Which chunks are given up, and which are only unlucky."""

from neuroconn.inference.executors import Batch, Returned
from neuroconn.inference.failures import Retries

KILLED = Returned(Batch(1, (((0, 0, 0), 1), ((0, 0, 1), 1))), lost="killed")


def alone(retries: Retries) -> Returned:
    """The next suspect, in a batch of its own that dies."""
    index = retries.take_suspect()
    return Returned(Batch(2, ((index, retries.attempt(index)),)), lost="killed")


def test_everything_that_a_dying_worker_held_runs_again_alone() -> None:
    retries = Retries()

    assert retries.lost(KILLED, alone=False) == []

    assert retries.suspects == 2
    assert retries.take(9) == []  # not together with others


def test_a_chunk_that_dies_alone_once_may_have_been_unlucky() -> None:
    retries = Retries()
    retries.lost(KILLED, alone=False)

    assert retries.lost(alone(retries), alone=True) == []
    retries.take_suspect()  # the other one
    (failure,) = retries.lost(alone(retries), alone=True)

    assert failure.index == (0, 0, 0)
    assert failure.final
    assert "poison" in failure.reason
    assert not len(retries)


def test_a_chunk_that_succeeds_is_no_suspect_any_more() -> None:
    retries = Retries()
    retries.lost(KILLED, alone=False)
    retries.lost(alone(retries), alone=True)
    retries.forget((0, 0, 0))
    while retries.suspects:
        retries.take_suspect()

    retries.lost(KILLED, alone=False)

    assert retries.lost(alone(retries), alone=True) == []
