"""Damage of what a run has written, beyond single chunks (``test_verify.py`` has those)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fakes import FIBRE
from labs import HARMS, Lab, cut, empty

from neuroconn.cli import main
from neuroconn.errors import OutputError
from neuroconn.inference.output.verify import verify


def other_shape(file: Path) -> None:
    """Say that an array is larger than it is."""
    document = json.loads(file.read_text())
    document["shape"][0] += 16
    file.write_text(json.dumps(document))


def other_run(file: Path) -> None:
    """Say that the map is that of another run."""
    document = json.loads(file.read_text())
    document["attributes"]["neuroconn"]["attributes"]["run_id"] = "0"
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("key", "harm", "said"),
    [
        ("zarr.json", cut, "is damaged"),
        ("zarr.json", Path.unlink, "is missing"),
        ("zarr.json", other_run, "is not the one of this run"),
        ("0/zarr.json", empty, "is damaged"),
        ("1/zarr.json", other_shape, "is not the one of this run"),
        ("0/zarr.json", Path.unlink, "is missing"),
    ],
)
def test_damaged_metadata_are_found_and_put_back_and_nothing_is_computed(
    calm: Lab, key: str, harm: Callable[[Path], None], said: str
) -> None:
    harm(calm.output() / key)

    found = verify(calm.output())
    assert found.metadata == ((key, said),)
    assert not found.sound
    if harm not in (other_run, other_shape):
        with pytest.raises(OutputError, match="neuroconn verify --repair"):
            calm.run()
    assert verify(calm.output(), repair=True).repaired

    assert verify(calm.output()).sound
    assert calm.run().inferred == 0
    assert calm.bytes() == calm.bytes("calm")


def test_a_lost_array_is_metadata_and_chunks(calm: Lab) -> None:
    shutil.rmtree(calm.output() / "0")

    found = verify(calm.output())
    repaired = verify(calm.output(), repair=True)

    assert [key for key, _ in found.metadata] == ["0/zarr.json"]
    assert len(repaired.damaged) == len(FIBRE)
    assert calm.run().inferred == len(FIBRE)
    assert calm.bytes() == calm.bytes("calm")


def test_what_viewers_add_to_the_attributes_is_no_damage(calm: Lab) -> None:
    from neuroconn.volume.store import open_image

    open_image(calm.output()).set_window(0, 9, low=0, high=250)

    assert verify(calm.output()).sound


@pytest.mark.parametrize("harm", [*HARMS, "all"])
def test_coarse_objects_are_built_again(calm: Lab, harm: Any) -> None:
    files = [p for p in sorted((calm.output() / "1/c").rglob("*")) if p.is_file()]
    for file in files if harm == "all" else files[:1]:
        (Path.unlink if harm == "all" else harm)(file)

    found = verify(calm.output())
    assert len(found.coarse) == (len(files) if harm == "all" else 1)
    assert found.damaged == ()
    assert verify(calm.output(), repair=True).repaired

    assert calm.run().inferred == 0
    assert calm.bytes() == calm.bytes("calm")


def test_the_rest_of_a_killed_write_is_swept_and_what_is_not_ours_is_kept(calm: Lab) -> None:
    left = calm.output() / "0/c/1/2/1.1f8d2c.partial"
    left.write_bytes(b"half")
    notes = calm.output() / "0/c/1/notes.txt"
    notes.write_text("mine")
    far = calm.output() / "0/c/99/0/0"
    far.parent.mkdir(parents=True)
    far.write_bytes(b"no chunk of this grid")

    told = CliRunner().invoke(main, ["verify", str(calm.output())])
    assert told.exit_code == 1
    assert f"{left} is the rest of an interrupted write" in told.stdout
    assert f"{notes} is not part of the map" in told.stderr
    assert verify(calm.output(), repair=True).repaired

    after = verify(calm.output())
    assert after.sound
    assert after.foreign == (str(notes), str(far))
    assert not left.exists()
    assert calm.run().inferred == 0


def test_looking_at_a_run_under_way_says_that_it_is_sound(ready: Lab) -> None:
    found = []

    def look(progress: Any) -> None:
        if progress.done == 3:
            # As a worker leaves it between its write and the journal.
            shutil.copytree(
                ready.output("calm") / "0/c", ready.output() / "0/c", dirs_exist_ok=True
            )
            (ready.output() / "0/c/1/2/1.partial").touch()
            found.append(verify(ready.output()))
            with pytest.raises(OutputError, match="in use by process"):
                verify(ready.output(), repair=True)
            (ready.output() / "0/c/1/2/1.partial").unlink()

    ready.run(progress=look)

    assert found[0].sound
    assert found[0].checked == 3
    assert ready.bytes() == ready.bytes("calm")
