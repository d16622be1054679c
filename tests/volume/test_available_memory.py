"""Free memory: of the machine, of its control groups, of nothing at all."""

from pathlib import Path

import pytest

from neuroconn.volume.memory import available_memory

GIB = 2**30


def write(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return root


def machine(root: Path, free_gib: int, group: str) -> Path:
    meminfo = f"MemTotal: 99 kB\nMemAvailable: {free_gib * 2**20} kB"
    return write(root, {"proc/meminfo": meminfo, "proc/self/cgroup": group})


def test_without_groups_the_machine_decides(tmp_path: Path) -> None:
    assert available_memory(machine(tmp_path, 8, "0::/")) == 8 * GIB


def test_a_system_that_says_nothing_is_unknown(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None


@pytest.mark.parametrize("mounted", ["job/step", "job", ""])
def test_a_job_has_no_more_than_its_group_or_one_above(tmp_path: Path, mounted: str) -> None:
    group = f"sys/fs/cgroup/{mounted}"
    machine(tmp_path, 64, "0::/job/step")
    write(
        tmp_path,
        {
            f"{group}/memory.max": 8 * GIB,
            f"{group}/memory.current": 5 * GIB,
            f"{group}/memory.stat": f"anon 1\ninactive_file {GIB}",
        },
    )

    assert available_memory(tmp_path) == 4 * GIB


def test_the_older_groups_are_read_too(tmp_path: Path) -> None:
    machine(tmp_path, 64, "3:cpu:/x\n4:memory,hugetlb:/slurm/job\n0::/")
    group = "sys/fs/cgroup/memory/slurm/job"
    write(
        tmp_path,
        {
            f"{group}/memory.limit_in_bytes": 6 * GIB,
            f"{group}/memory.usage_in_bytes": 2 * GIB,
            f"{group}/memory.stat": "total_inactive_file 0",
        },
    )

    assert available_memory(tmp_path) == 4 * GIB


def test_a_group_without_a_limit_leaves_the_machine(tmp_path: Path) -> None:
    machine(tmp_path, 8, "0::/job")
    write(
        tmp_path,
        {"sys/fs/cgroup/job/memory.max": "max", "sys/fs/cgroup/job/memory.current": GIB},
    )

    assert available_memory(tmp_path) == 8 * GIB


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    machine(tmp_path, 8, "0::/job")
    write(
        tmp_path,
        {"sys/fs/cgroup/job/memory.max": GIB, "sys/fs/cgroup/job/memory.current": 2 * GIB},
    )

    assert available_memory(tmp_path) == 0
