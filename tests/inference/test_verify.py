from pathlib import Path

import pytest
from fakes import SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card, stored_bytes

from neuroconn.errors import OutputError
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.verify import verify
from neuroconn.inference.run import infer


def run(folder: Path) -> int:
    report = infer(
        folder / "brain.zarr",
        folder / "out.zarr",
        model=folder / "model",
        seeds=[SEED],
        settings=SETTINGS,
        scheduler="sync",
        predictor=fake_predictor,
    )
    return report.inferred


@pytest.fixture
def output(tmp_path: Path) -> Path:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    run(tmp_path)
    return tmp_path / "out.zarr"


def stored_object(output: Path, name: str = "0/c/1/2/1") -> Path:
    file = output / name
    assert file.is_file()
    return file


def test_a_fresh_output_is_sound(output: Path) -> None:
    report = verify(output)

    assert report.sound
    assert report.checked == 5


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: f.unlink(), "missing from the store"),
        (lambda f: f.write_bytes(b""), "is empty"),
        (lambda f: f.write_bytes(f.read_bytes()[:-9]), "cannot decode"),
        (lambda f: f.write_bytes(bytes(b ^ (i == 30) for i, b in enumerate(f.read_bytes()))), ""),
        (lambda f: f.write_bytes((f.parents[1] / "1/2").read_bytes()), "not those that were"),
    ],
    ids=["deleted", "emptied", "cut short", "one bit", "another chunk's"],
)
def test_damage_is_found_repaired_and_only_it_is_computed_again(
    output: Path, harm: object, said: str
) -> None:
    whole = stored_bytes(output)
    harm(stored_object(output))  # type: ignore[operator]

    found = verify(output)
    assert [index for index, _ in found.damaged] == [(1, 2, 1)]
    assert said in found.damaged[0][1]
    assert not found.sound
    assert verify(output, repair=True).repaired

    assert run(output.parent) == 1
    assert verify(output).sound
    assert stored_bytes(output) == whole


def test_looking_changes_nothing(output: Path) -> None:
    stored_object(output).unlink()
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}

    verify(output)

    assert {p: p.read_bytes() for p in output.rglob("*") if p.is_file()} == before


def test_a_stored_chunk_the_journal_does_not_know_is_found_and_taken_out(output: Path) -> None:
    whole = stored_bytes(output)
    stray = output / "0/c/0/0/0"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(stored_object(output).read_bytes())

    assert verify(output).unjournalled == ((0, 0, 0),)
    verify(output, repair=True)

    assert verify(output).sound
    assert stored_bytes(output) == whole


def test_a_coarse_level_that_does_not_fit_is_found_and_built_again(output: Path) -> None:
    whole = stored_bytes(output)
    file = next(p for p in sorted((output / "1/c").rglob("*")) if p.is_file())
    file.write_bytes(b"")

    assert verify(output).coarse
    verify(output, repair=True)
    assert run(output.parent) == 0

    assert verify(output).sound
    assert stored_bytes(output) == whole


def test_repair_refuses_while_a_client_is_at_work(output: Path) -> None:
    stored_object(output).unlink()

    with (
        Journal.open(output / "run", Journal.read(output / "run").identity),
        pytest.raises(OutputError, match="in use by process"),
    ):
        verify(output, repair=True)


def test_something_else_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not an output of"):
        verify(tmp_path)
