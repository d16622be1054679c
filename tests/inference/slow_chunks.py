"""A preload of Dask: each chunk of this worker takes ``SLOW`` seconds longer, and is noted."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from neuroconn.inference import task

SLOW = float(os.environ.get("SLOW", "0"))
EXECUTED = os.environ.get("EXECUTED")


def dask_setup(worker: Any) -> None:
    quick = task.infer_chunk

    def slow(context: Any, index: Any, *more: Any, **options: Any) -> task.Outcome:
        if EXECUTED:
            with Path(EXECUTED).open("a") as file:
                file.write(f"{index}\n")
        time.sleep(SLOW)
        return quick(context, index, *more, **options)

    task.infer_chunk = slow
