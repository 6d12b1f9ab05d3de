import dataclasses
import json
import shutil

import pytest

from magpie_training import UserError, cardinal, judge
from magpie_training.cardinal import SCORE, plot, row, subset, table
from magpie_training.train import train


def test_a_subset_keeps_the_first_pictures_and_their_labels(dataset, tmp_path):
    path = subset(dataset, 1, tmp_path / "one.json")
    document = json.loads(path.read_text())
    assert [i["id"] for i in document["images"]] == [0]
    assert {a["image_id"] for a in document["annotations"]} == {0}
    assert document["images"][0]["file_name"] == str(dataset.parent / "0.png")


def test_a_subset_finds_its_pictures_from_wherever_it_is_read(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(dataset.parent)
    path = subset(dataset.relative_to(dataset.parent), 1, tmp_path / "elsewhere" / "one.json")
    assert json.loads(path.read_text())["images"][0]["file_name"] == str(dataset.resolve().parent / "0.png")


def test_a_subset_larger_than_the_dataset_is_refused(dataset, tmp_path):
    with pytest.raises(UserError, match="it holds 2"):
        subset(dataset, 3, tmp_path / "three.json")


@pytest.fixture
def plan(tmp_path):
    return cardinal.Plan(
        base=tmp_path / "base.onnx", out=tmp_path / "out", counts=(1,), bespoke_counts=(1,),
        test_frames=1, teach_steps=5, bespoke_steps=5,
    )


def test_a_stopped_run_is_not_scored_as_if_it_were_done(plan, dataset, recipe, monkeypatch):
    monkeypatch.setattr(cardinal, "PROTOTYPE_PER_PRODUCTION", 1)
    monkeypatch.setattr(cardinal, "train", lambda _, out, **__: train(recipe, out, quiet=True))
    monkeypatch.setattr(cardinal, "finetune", lambda options: None)
    with pytest.raises(UserError, match="train bespoke_1: stopped; the same command goes on"):
        cardinal.bespoke(plan, None, 1, dataset, dataset, dataset)
    with pytest.raises(UserError, match="teach taught_1: stopped; the same command goes on"):
        cardinal.taught(plan, "taught_1", 1, dataset, dataset, ("", ""))


def test_rows_made_with_other_settings_are_not_mixed(plan):
    plan.out.mkdir()
    cardinal.settle(plan)
    cardinal.settle(dataclasses.replace(plan, counts=(3,), base="other.onnx"))
    with pytest.raises(UserError, match="it was begun with --teach-steps 5, now 9; use another --out"):
        cardinal.settle(dataclasses.replace(plan, teach_steps=9))


def test_frames_that_were_cut_are_simulated_again(plan, monkeypatch):
    def simulate(_program, *arguments):
        folder = arguments[arguments.index("--out") + 1]
        folder.mkdir()
        (folder / "annotations.json").write_text("{}")

    monkeypatch.setattr(judge, "run_program", simulate)
    (plan.out / "cells/test_1.part").mkdir(parents=True)
    path = cardinal.cell(plan, "magpie", "production", "test", 1)
    assert path == (plan.out / "cells/test_1/annotations.json").resolve()


def test_the_table_and_the_plot_show_every_row(tmp_path):
    scores = {"mask AP": 20.0, SCORE: 31.5, "mask AP50, types ignored": 50.0}
    rows = [
        row("universal", 0, 0, 0, scores),
        row("universal, taught", 10, 0, 120, scores, 0.4),
        row("bespoke", 10, 250, 600, scores),
    ]
    lines = list(table(rows))
    assert len(lines) == 5
    assert "| -0.4 |" in lines[3]
    assert "31.5" in lines[4]
    plot(rows, tmp_path / "plot.svg")
    assert "production cell" in (tmp_path / "plot.svg").read_text()


def grouped(dataset, name, group):
    """A copy of a dataset with pictures of its own, of one group."""
    folder = dataset.parent / name
    folder.mkdir()
    document = json.loads(dataset.read_text())
    for image in document["images"]:
        shutil.copy(dataset.parent / image["file_name"], folder)
        image["group"] = group
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder / "annotations.json"


def test_photographs_of_real_cells_are_taken_as_they_are(plan, dataset):
    paths = {n: grouped(dataset, n, n) for n in ("prototype", "production", "test")}
    real = dataclasses.replace(plan, **paths)
    assert cardinal.cell(real, None, "production", "test", 80) == paths["test"]
    with pytest.raises(UserError, match="--test goes with --prototype, --production and --test"):
        dataclasses.replace(plan, test=paths["test"])
    one_day = {**paths, "test": grouped(dataset, "again", "production")}
    with pytest.raises(UserError, match="the group 'production' is in it"):
        dataclasses.replace(plan, **one_day)


def test_of_real_pictures_some_are_taken_evenly(dataset, tmp_path):
    document = json.loads(dataset.read_text())
    first = document["images"][0]
    document["images"] = [{**first, "id": n} for n in range(10)]
    dataset.write_text(json.dumps({**document, "annotations": []}))
    path = subset(dataset, 3, tmp_path / "three.json", spread=True)
    assert [i["id"] for i in json.loads(path.read_text())["images"]] == [0, 3, 6]
