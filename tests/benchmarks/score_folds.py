"""Score models that each left out one labelled plane, on the plane they left out.

The honest score of a model that learnt from all of them::

    python tests/benchmarks/score_folds.py IMAGE.tif LABEL.tif --label 2 \\
        17=runs/fold17/model 48=runs/fold48/model 77=runs/fold77/model
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scoring_volumes import score_planes

from neuroconn.metrics import CCQ


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores of each plane, and of all their voxels together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path)
    parser.add_argument("label", type=Path)
    parser.add_argument("folds", nargs="+", metavar="PLANE=MODEL")
    parser.add_argument("--label", dest="value", type=int, default=1, help="value of neurites")
    parser.add_argument("--threads", type=int, help="threads of torch")
    options = parser.parse_args(arguments)
    together = CCQ()
    for fold in options.folds:
        plane, _, model = fold.partition("=")
        with tempfile.TemporaryDirectory() as folder:
            counts = score_planes(
                options.image,
                options.label,
                Path(folder),
                model=model,
                value=options.value,
                planes=[int(plane)],
                scheduler="sync",
                threads=options.threads,
            ).counts
        print(f"plane {plane:>4}  {describe(counts)}", flush=True)
        together += counts
    print(f"together    {describe(together)}")
    return 0


def describe(counts: CCQ) -> str:
    """Return the three scores in words."""
    return (
        f"correctness {counts.correctness:.3f}  completeness {counts.completeness:.3f}  "
        f"quality {counts.quality:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
