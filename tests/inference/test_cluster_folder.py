"""The files of ``cluster/``: what they write, and that it runs."""

import importlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from clusters import HERE, save_brain_and_network, wait_until
from dockerfile_parse import DockerfileParser
from fakes import CHUNKS, SETTINGS, fake_predictor, fibre, save_brain, save_card, stored_bytes

from neuroconn.cli import main
from neuroconn.config.access import Access
from neuroconn.config.presets import folder, list_sites
from neuroconn.inference.report import InferReport
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress
from neuroconn.sites.certificate import write_certificates
from neuroconn.sites.site import find
from neuroconn.sites.start import start

CLUSTER = folder("cluster")
QUEUES = {
    "slurm": "#SBATCH --gres=gpu:1",
    "pbs": "ngpus=1",
    "sge": "gpu=1",
    "lsf": "#BSUB -gpu num=1",
}


def option(words: list[str], name: str) -> str:
    """The one value of a command-line option."""
    assert words.count(name) == 1, f"{name} is there {words.count(name)} times"
    return words[words.index(name) + 1]


def minutes(text: str) -> float:
    """Minutes of ``225m``, of ``04:00:00`` and of ``04:00``."""
    if text.endswith("m"):
        return float(text[:-1])
    hours, minutes, *_ = text.split(":")
    return 60 * float(hours) + float(minutes)


def offers_its_threads(words: list[str]) -> None:
    """Check that a worker runs as many chunks as it offers to."""
    assert option(words, "--resources") == f"GPU={option(words, '--nthreads')}"


def job_script(name: str, shared: Path) -> str:
    """What a site of a queue would submit, with certificates in the folder ``shared``."""
    site = find(name).model_copy(update={"scale": None, "certificates": str(shared)})
    with start(site, name, Access()) as cluster:
        return str(cluster.job_script())


def test_the_folder_is_complete() -> None:
    wanted = {"local", "local-cpu", "ssh", "slurm", "pbs", "sge", "lsf"}
    files = {"slurm.sbatch", "Dockerfile", "compose.yaml", "kubernetes/daskcluster.yaml"}

    assert wanted <= set(list_sites())
    assert "compose" not in list_sites()
    assert all((CLUSTER / name).is_file() for name in files)
    readme = (CLUSTER / "README.md").read_text()
    for name in (*wanted, *files):
        assert name in readme, f"cluster/README.md does not explain {name}"


@pytest.mark.cluster
@pytest.mark.parametrize("name", QUEUES)
def test_a_job_asks_for_a_gpu_and_its_worker_leaves_in_time(name: str, tmp_path: Path) -> None:
    script = job_script(name, tmp_path)
    words = script.split()
    walltime = str(find(name).kwargs["walltime"])

    assert QUEUES[name] in script
    offers_its_threads(words)
    latest = minutes(option(words, "--lifetime")) + minutes(option(words, "--lifetime-stagger"))
    assert latest < minutes(walltime)
    assert {"--nanny", "--no-dashboard", "--tls-key"} <= set(words)
    assert "8" in re.findall(r"(?:cpus-per-task=|ncpus=|-pe smp |BSUB -n )(\d+)", script)
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.cluster
def test_jobs_start_with_our_settings_of_dask(tmp_path: Path) -> None:
    script = job_script("slurm", tmp_path)

    assert "export MALLOC_ARENA_MAX=1" in script
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False" in script
    assert "export NEUROCONN_THREADS=8" in script


def test_the_compose_file_fits_the_schema_of_compose() -> None:
    vendored = resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    compose = yaml.safe_load((CLUSTER / "compose.yaml").read_text())

    jsonschema.Draft7Validator(json.loads(vendored.read_text())).validate(compose)
    services = compose["services"]
    assert {"scheduler", "worker", "gpu-worker", "client"} == set(services)
    offers_its_threads(services["worker"]["command"])
    offers_its_threads(services["gpu-worker"]["command"])
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert all(s["cap_drop"] == ["ALL"] and "privileged" not in s for s in services.values())


def test_the_options_that_containers_give_the_client_exist() -> None:
    infer_command = importlib.import_module("neuroconn.cli.infer").command
    known = {f"NEUROCONN_INFER_{str(p.name).upper()}" for p in infer_command.params}
    flags = {flag for parameter in infer_command.params for flag in parameter.opts}
    compose = yaml.safe_load((CLUSTER / "compose.yaml").read_text())
    job = kubernetes()["Job"]["spec"]["template"]["spec"]["containers"][0]

    assert {n for n in compose["services"]["client"]["environment"] if "INFER" in n} <= known
    assert {word for word in job["args"] if word.startswith("--")} <= flags
    sbatch = (CLUSTER / "slurm.sbatch").read_text()
    line = next(line for line in sbatch.splitlines() if line.startswith("neuroconn infer"))
    assert set(re.findall(r"--[a-z-]+", line)) <= flags


def kubernetes() -> dict[str, Any]:
    text = (CLUSTER / "kubernetes/daskcluster.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_the_kubernetes_file_is_a_dask_cluster_with_gpus_and_a_client() -> None:
    documents = kubernetes()
    cluster, job = documents["DaskCluster"], documents["Job"]
    worker = cluster["spec"]["worker"]["spec"]["containers"][0]
    scheduler = cluster["spec"]["scheduler"]

    assert cluster["apiVersion"] == "kubernetes.dask.org/v1"
    assert set(cluster["spec"]) == {"scheduler", "worker"}
    assert set(cluster["spec"]["worker"]) == {"replicas", "spec"}
    assert set(scheduler) == {"spec", "service"}
    offers_its_threads(worker["args"])
    assert option(worker["args"], "--name") == "$(DASK_WORKER_NAME)"
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    ports = {p["name"]: p["containerPort"] for p in scheduler["spec"]["containers"][0]["ports"]}
    assert {p["targetPort"]: p["port"] for p in scheduler["service"]["ports"]} == ports
    name = cluster["metadata"]["name"]
    assert scheduler["service"]["selector"]["dask.org/cluster-name"] == name
    client = job["spec"]["template"]["spec"]["containers"][0]
    assert option(client["args"], "--scheduler") == f"tcp://{name}-scheduler:{ports['tcp-comm']}"
    # 75 and the signals are tried again; what running again cannot cure is not.
    given_up = job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]
    assert given_up == [1, 2, 3, 4, 74]


def test_no_container_runs_as_root_or_grows_rights() -> None:
    documents = kubernetes()
    pods = [
        documents["DaskCluster"]["spec"]["scheduler"]["spec"],
        documents["DaskCluster"]["spec"]["worker"]["spec"],
        documents["Job"]["spec"]["template"]["spec"],
    ]

    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
    # Only the pods of the cluster reach its ports.
    rule = documents["NetworkPolicy"]["spec"]
    name = documents["DaskCluster"]["metadata"]["name"]
    assert rule["podSelector"]["matchLabels"] == {"dask.org/cluster-name": name}
    client = documents["Job"]["spec"]["template"]["metadata"]["labels"]
    allowed = [peer["podSelector"]["matchLabels"] for peer in rule["ingress"][0]["from"]]
    assert client in allowed


def test_the_image_is_pinned_and_runs_without_root(tmp_path: Path) -> None:
    parser = DockerfileParser(str(tmp_path))
    parser.content = (CLUSTER / "Dockerfile").read_text()
    steps = [
        (s["instruction"], s["value"]) for s in parser.structure if s["instruction"] != "COMMENT"
    ]
    arguments = dict(value.split("=", 1) for name, value in steps if name == "ARG" and "=" in value)

    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", arguments["PYTHON"])
    pins = (CLUSTER.parent / "constraints.txt").read_text()
    assert f"torch=={arguments['TORCH']}\n" in pins
    assert arguments["TORCH_INDEX"].endswith("/cpu")
    assert [value for name, value in steps if name == "USER"] == ["1000:1000"]
    copied = {
        w for name, v in steps if name == "COPY" and "--from" not in v for w in v.split()[:-1]
    }
    assert all((CLUSTER.parent / name).exists() for name in copied)
    assert {"neuroconn", "configs", "cluster", "constraints.txt"} <= copied


def test_certificates_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = write_certificates(tmp_path / "job")

    assert made.encrypted
    assert stat.S_IMODE((tmp_path / "job").stat().st_mode) == 0o700
    for file in (made.tls_ca, made.tls_cert, made.tls_key):
        assert stat.S_IMODE(Path(str(file)).stat().st_mode) == 0o600


SRUN = """#!/usr/bin/env bash
# Runs the command once a task, as srun does, and puts the tasks under names of their own.
while [[ $1 == --* ]]; do shift; done
for task in $(seq "${SLURM_NTASKS:-1}"); do SLURM_PROCID=$task "$@" --name "task-$task" & done
trap 'kill $(jobs -p)' TERM; wait
"""
SBATCH = """#!/usr/bin/env bash
# Runs the job at once, in a group of its own, and says what SLURM says.
cp "$1" "$FAKE_SLURM/$$.sh"
setsid bash "$FAKE_SLURM/$$.sh" > "$FAKE_SLURM/$$.log" 2>&1 &
echo $! > "$FAKE_SLURM/$$.pid"
echo "Submitted batch job $$"
"""
SCANCEL = """#!/usr/bin/env bash
kill -9 -- "-$(cat "$FAKE_SLURM/$1.pid")" 2>/dev/null || true
"""
SCONTROL = """#!/usr/bin/env bash
echo "$@" >> "$FAKE_SLURM/scontrol.log"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine that says it is SLURM: jobs run here, at once."""
    state = tmp_path / "slurm"
    state.mkdir()
    for name, script in {
        "srun": SRUN,
        "sbatch": SBATCH,
        "scancel": SCANCEL,
        "scontrol": SCONTROL,
    }.items():
        (state / name).write_text(script)
        (state / name).chmod(0o755)
    paths = [str(state), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(paths))
    monkeypatch.setenv("FAKE_SLURM", str(state))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    yield state
    for file in state.glob("*.pid"):
        subprocess.run([state / "scancel", file.stem], check=True)


@pytest.mark.cluster
def test_the_slurm_site_runs_a_walk_and_replaces_a_lost_job(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroconn.sites.start._LOST_S", 0.5)
    monkeypatch.setattr("neuroconn.sites.start._LOOK_AGAIN_S", 0.2)
    monkeypatch.setenv("FAKE", json.dumps({"seconds": 0.01}))
    save_brain(tmp_path / "brain.zarr", fibre())
    site = yaml.safe_load((CLUSTER / "slurm.yaml").read_text())
    arguments = ["--resources", "GPU=2", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    site["kwargs"] |= {"cores": 2, "interface": "lo", "worker_extra_args": arguments}
    site |= {"scale": 1, "certificates": str(tmp_path)}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(site))
    lost = list[str]()

    def lose_the_job(progress: Progress) -> None:
        if progress.done > 10 and not lost:
            lost.extend(file.stem for file in slurm.glob("*.pid"))
            subprocess.run([slurm / "scancel", *lost], check=True)

    def run(name: str, scheduler: str, progress: Any = None) -> InferReport:
        return infer(
            tmp_path / "brain.zarr",
            tmp_path / name / "out.zarr",
            model=tmp_path / "model",
            seed_source="all",
            settings=SETTINGS,
            scheduler=scheduler,
            predictor=fake_predictor,
            progress=progress,
        )

    save_card(tmp_path / "model")
    report = run("slurm-run", str(tmp_path / "mine.yaml"), lose_the_job)
    run("sync", "sync")

    assert report.visited == CHUNKS
    assert len(lost) == 1
    assert len(list(slurm.glob("*.pid"))) == 2
    assert all("tls://127.0.0.1:" in job.read_text() for job in slurm.glob("*.sh"))
    assert stored_bytes(tmp_path / "slurm-run/out.zarr") == stored_bytes(tmp_path / "sync/out.zarr")
    assert not list(tmp_path.glob(".neuroconn-*"))


@pytest.mark.cluster
def test_the_job_of_slurm_drains_before_the_wall_time_and_goes_on_when_requeued(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = save_brain_and_network(tmp_path)
    calm = CliRunner().invoke(main, [*command("calm")[3:], "--scheduler", "sync"])
    assert calm.exit_code == 0, calm.output
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("NEUROCONN_SLOTS", "2")
    words = command("cut")[4:]  # what follows `infer`
    journal = tmp_path / "cut/out.zarr/run/journal.jsonl"

    def job(restarts: int, seconds: float) -> subprocess.Popen[bytes]:
        preload = {"DASK_DISTRIBUTED__WORKER__PRELOAD": "slow_chunks", "SLOW": str(seconds)}
        again = {"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}
        with (tmp_path / "job.log").open("ab") as log:
            return subprocess.Popen(
                ["bash", CLUSTER / "slurm.sbatch", *words],
                env={**os.environ, **preload, **again},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def journalled() -> int:
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    first = job(0, 0.2)
    try:
        wait_until(lambda: journalled() > 5, "the job did not begin")
        os.kill(first.pid, signal.SIGTERM)  # as --signal=B:TERM@300
        assert first.wait(60) == 143, (tmp_path / "job.log").read_text()
        assert (slurm / "scontrol.log").read_text() == "requeue 42\n"
        assert 5 < journalled() < CHUNKS
        second = job(1, 0)
        assert second.wait(120) == 0, (tmp_path / "job.log").read_text()
    finally:
        os.killpg(first.pid, signal.SIGKILL) if first.poll() is None else None
    assert (slurm / "scontrol.log").read_text() == "requeue 42\n"
    assert stored_bytes(tmp_path / "cut/out.zarr") == stored_bytes(tmp_path / "calm/out.zarr")
    assert not list(tmp_path.glob(".neuroconn-*"))
