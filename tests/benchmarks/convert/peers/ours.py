"""neuroconn; ``option`` is a compression, empty for what users get without asking, or "verify"."""

from __future__ import annotations

from collections.abc import Callable

from job import Job, timed


def prepare(job: Job) -> Callable[[], None]:
    if job.option == "verify":
        return _verify(job)
    import tensorstore
    import tifffile

    # Where attributes are loaded on demand, they would be loaded inside the timing.
    from neuroconn.volume import convert, create_image, open_source

    del create_image, open_source, tensorstore
    longest = max(len(job.files), *tifffile.imread(job.files[0]).shape)
    settings = {"compression": job.option} if job.option else {}

    def run() -> None:
        report = convert(
            job.source,
            job.output,
            spacing=(1.0, 1.0, 1.0),
            smallest=-(-longest // 2 ** (job.levels - 1)),
            threads=job.threads,
            **settings,  # type: ignore[arg-type]
        )
        if len(report.levels) != job.levels:
            raise RuntimeError(f"{len(report.levels)} levels instead of {job.levels}")

    return run


def _verify(job: Job) -> Callable[[], None]:
    from neuroconn.volume import verify_image

    def run() -> None:
        problems = verify_image(job.source)
        if problems:
            raise RuntimeError(f"{len(problems)} problems: {problems[0]}")

    return run


if __name__ == "__main__":
    timed(prepare, ("neuroconn",))
