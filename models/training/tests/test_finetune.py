import dataclasses
import json
import shutil

import cv2
import numpy as np
import onnx
import pytest
import torch

from magpie_training import UserError, export, finetune, judge, train
from magpie_training.__main__ import main
from magpie_training.recipe import Recipe, Source
from magpie_training.train import Run
from magpie_training.weights import read_checkpoint, read_net

SCORES = ("mask AP", "mask AP, types ignored", "mask AP50, types ignored", "box AP")


@pytest.fixture(autouse=True)
def no_program(monkeypatch, tmp_path):
    monkeypatch.delenv("MAGPIE", raising=False)
    monkeypatch.setattr(judge, "PROGRAM", tmp_path / "not_built")
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    recipe = Recipe(sources=(Source("none"),), width=16)
    Run(recipe, torch.device("cpu")).save(folder / "base.pt")
    described = {"version": "1.2.0", "training_data": "all of it", "score_min": 0.3}
    export.export(folder / "base.pt", folder / "base.onnx", size=(128, 128), **described)
    return folder / "base.onnx"


@pytest.fixture
def cell(tmp_path):
    """Ten pictures, each with one package outlined by LabelMe."""
    folder = tmp_path / "cell"
    folder.mkdir()
    for number in range(10):
        image = np.full((96, 128, 3), 30 + 5 * number, np.uint8)
        image[20:70, 30:90] = (40, 160, 220)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        outline = {"label": "box", "points": [[30, 20], [90, 20], [90, 70], [30, 70]]}
        document = {
            "version": "5.5.0", "shapes": [{**outline, "group_id": None, "shape_type": "polygon"}],
            "imagePath": f"{number}.png", "imageData": None, "imageHeight": 96, "imageWidth": 128,
        }
        (folder / f"{number}.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def options(base, cell, dataset, tmp_path):
    return finetune.Options(
        labels=cell, out=tmp_path / "dock-7", base=base, base_set=(str(dataset),), base_check=dataset,
        steps=2, batch=2, sizes_px=(96,), workers=0, data_licence="CC0-1.0", data_source="dock 7",
    )


def test_a_cell_is_taught_judged_and_handed_over_with_its_card(options, base, capsys):
    assert finetune.finetune(options)
    out = options.out
    said = capsys.readouterr().out
    assert "8 pictures to learn from, 2 held out" in said and "50 % of what is learned" in said
    assert "by the Python evaluation" in said
    assert "new cell, 2 held-out pictures: mask AP " in said and "base set: mask AP " in said
    assert "nothing could be forgotten: the base model knows nothing of the base set" in said
    assert "verdict: no difference: " in said
    assert "latency" in said and "parity" in said and "accepted: no more than 1 point of mask AP was forgotten" in said
    card = (out / "dock-7.md").read_text()
    assert 'license: "CC0-1.0"' in card and "dock 7" in card and "Verdict: accepted" in card
    properties = {p.key: p.value for p in onnx.load(str(out / "dock-7.onnx")).metadata_props}
    assert properties["magpie.version"] == "1.2.0+dock-7"
    assert properties["magpie.training_data"] == "all of it; then 8 pictures of dock-7 (dock 7)"
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["accepted"] and verdict["mask_iou_min"] == 1.0 and verdict["verdict"] == "no difference"
    before, after = (read_net(p).state_dict() for p in (base, out / "dock-7.onnx"))
    changed = {n.split(".")[0] for n in before if not torch.equal(before[n], after[n])}
    assert "heads" in changed and "backbone" not in changed
    # Half-way between what it was and what it learned.
    learned = read_net(out / "run/last.pt").state_dict()
    for name, was in before.items():
        torch.testing.assert_close(after[name], was.lerp(learned[name], 0.5))


def falling(points):
    """Scores of 50, then lower by `points` on the base set for the new model."""

    def scores(_judge, model, annotations):
        lost = points if "candidate" in str(model) and "annotations" in str(annotations) else 0.0
        return dict.fromkeys(SCORES, 50.0 - lost)

    return scores


def test_a_model_that_forgot_is_not_blessed(options, monkeypatch, capsys):
    monkeypatch.setattr(judge.Judge, "scores", falling(1.2))
    assert not finetune.finetune(options)
    assert (options.out / "dock-7.rejected.onnx").is_file()
    assert not (options.out / "dock-7.onnx").exists()
    said = capsys.readouterr().out
    assert "it forgot: mask AP of the base set fell by 1.2 points" in said
    assert "nothing could be forgotten" not in said
    assert "**refused**" in (options.out / "dock-7.rejected.md").read_text()


def test_a_model_that_lost_less_than_a_point_is_accepted(options, monkeypatch):
    monkeypatch.setattr(judge.Judge, "scores", falling(0.9))
    assert finetune.finetune(options)


@pytest.mark.parametrize("iou", [0.9, float("nan")])
def test_a_model_whose_export_finds_other_masks_is_not_blessed(options, monkeypatch, capsys, iou):
    monkeypatch.setattr(judge, "mask_parity", lambda *_: (iou, 3))
    assert not finetune.finetune(options)
    assert "refused: the export is not the trained network" in capsys.readouterr().out
    assert (options.out / "dock-7.rejected.onnx").is_file()


def test_a_stopped_run_goes_on_where_it_was(options, monkeypatch, capsys):
    @train.contextlib.contextmanager
    def stopped_at_once():
        yield lambda: True

    with monkeypatch.context() as patch:
        patch.setattr(train, "stop_signals", stopped_at_once)
        assert finetune.finetune(options) is None
    assert "stopped at 50 %: the same command goes on" in capsys.readouterr().out
    assert finetune.finetune(options)
    assert read_checkpoint(options.out / "run" / "last.pt")["step"] == 2
    assert finetune.finetune(options), "a finished run is only judged again"
    assert read_checkpoint(options.out / "run" / "last.pt")["step"] == 2


def test_a_folder_holds_one_set_of_settings(options):
    finetune.finetune(options)
    with pytest.raises(UserError, match=r"begun with other settings \(seed: 1, now 2\); use another --out"):
        finetune.finetune(dataclasses.replace(options, seed=2))


def test_other_labels_are_told_without_their_hashes(options):
    finetune.finetune(options)
    (options.labels / "3.json").unlink()
    with pytest.raises(UserError, match="it was begun with another set of labels; use another --out"):
        finetune.finetune(options)


def test_what_is_in_the_folder_already_stays(options):
    options.out.mkdir()
    (options.out / "notes.txt").write_text("ours")
    with pytest.raises(UserError, match=r"it holds something else \(notes.txt\); use a new folder"):
        finetune.finetune(options)
    assert [p.name for p in options.out.iterdir()] == ["notes.txt"]
    within = dataclasses.replace(options, out=options.labels / "taught")
    with pytest.raises(UserError, match="it lies within .*cell, where everything below is read as labels"):
        finetune.finetune(within)
    assert not within.out.exists()


def test_labels_within_the_folder_are_not_written_over(options):
    mine = options.out / "labels"
    shutil.copytree(options.labels, mine)
    kept = sorted(p.name for p in mine.iterdir())
    for labels in (mine, mine / "0.json"):
        with pytest.raises(UserError, match="lies in it and would be written over; use another folder"):
            finetune.finetune(dataclasses.replace(options, labels=labels))
    assert sorted(p.name for p in mine.iterdir()) == kept


def test_pictures_of_the_folder_are_not_taken_for_those_of_a_label_file(options, tmp_path):
    shots = tmp_path / "shots"
    shots.mkdir()
    document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "box"}]}
    for number in range(10):
        (options.labels / f"{number}.png").rename(shots / f"{number}.png")
        document["images"].append({"id": number, "file_name": f"{number}.png"})
        package = {"id": number + 1, "image_id": number, "category_id": 1, "bbox": [30, 20, 60, 50]}
        document["annotations"].append({**package, "segmentation": [[30, 20, 90, 20, 90, 70, 30, 70]]})
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(document))
    beside = dataclasses.replace(options, labels=labels)
    assert finetune.finetune(beside)
    shutil.copy(shots / "3.png", options.out / "3.png")
    assert finetune.finetune(beside)


def test_a_cell_may_have_any_name(options):
    assert finetune.finetune(dataclasses.replace(options, name="candidate"))
    assert (options.out / "candidate.onnx").is_file()


@pytest.mark.parametrize("missing", ["labels", "held_out"])
def test_there_is_something_to_learn_from_and_to_judge_by(options, tmp_path, missing):
    copies = tmp_path / "copies"
    shutil.copytree(options.labels, copies)
    for number in range(10):
        image = np.full((96, 128, 3), 30 + number, np.uint8)
        cv2.imwrite(str(copies / f"{number}.png"), image)
    folder = options.labels if missing == "labels" else copies
    for number in range(10):
        document = json.loads((folder / f"{number}.json").read_text())
        document["shapes"] = [] if number else document["shapes"]
        (folder / f"{number}.json").write_text(json.dumps(document))
    (folder / "0.png").unlink()
    lacking = dataclasses.replace(options, held_out=copies, keep_empty=True, skip_bad_labels=True)
    told = "to learn from" if missing == "labels" else "held out"
    with pytest.raises(UserError, match=f"none of the 9 pictures {told} shows a package; label more$"):
        finetune.finetune(lacking)


@pytest.mark.parametrize("cut", ["labels", "base/replay.part"])
def test_a_run_that_was_killed_before_it_had_settings_begins_again(options, cut):
    (options.out / cut).mkdir(parents=True)
    assert finetune.finetune(options)


def test_the_expected_time_counts_the_scoring_also_when_it_was_done_before(options, monkeypatch):
    counted = []
    monkeypatch.setattr(judge.Judge, "scores", falling(0.0))
    monkeypatch.setattr(finetune, "learn", lambda _o, _b, _r, scoring_s: counted.append(scoring_s))
    for _ in range(2):
        finetune.finetune(options)
    assert counted[0] == counted[1] > 0


def test_held_out_pictures_are_not_those_that_are_learned(options, tmp_path):
    copies = tmp_path / "copies"
    shutil.copytree(options.labels, copies)
    with pytest.raises(UserError, match="--held-out: .*copies.* is also among the pictures to learn"):
        finetune.finetune(dataclasses.replace(options, held_out=copies))


def test_a_model_of_other_types_is_taught_its_own(options, cell, dataset, tmp_path):
    recipe = Recipe(sources=(Source("none"),), width=16, classes=("crate", "box"))
    Run(recipe, torch.device("cpu")).save(tmp_path / "other.pt")
    described = {"version": "1", "training_data": "", "score_min": 0.3}
    export.export(tmp_path / "other.pt", tmp_path / "other.onnx", size=(128, 128), **described)
    other = dataclasses.replace(options, base=tmp_path / "other.onnx", mapping={"box": "crate"})
    assert finetune.finetune(other)
    (first, *_) = json.loads((options.out / "labels/train.json").read_text())["annotations"]
    assert first["category_id"] == 1


def test_a_base_set_is_whole_before_anything_begins(options, dataset):
    (dataset.parent / "1.png").unlink()
    with pytest.raises(UserError, match="annotations.json: its picture .*1.png is missing"):
        finetune.finetune(options)


def test_forgetting_cannot_be_checked_on_rectangles(options, dataset):
    document = json.loads(dataset.read_text())
    document["annotations"] = [a for a in document["annotations"] if a["mask_source"] == "bbox"]
    check = dataset.with_name("check.json")
    check.write_text(json.dumps(document))
    with pytest.raises(UserError, match="it outlines no package, so forgetting would not show"):
        finetune.finetune(dataclasses.replace(options, base_check=check))


def test_forgetting_cannot_be_checked_on_nothing(options, tmp_path):
    with pytest.raises(UserError, match=f"--base-check {tmp_path}: a folder; name the COCO file"):
        finetune.finetune(dataclasses.replace(options, base_check=tmp_path))
    with pytest.raises(UserError, match="--base-set needs --base-check"):
        finetune.finetune(dataclasses.replace(options, base_check=None))
    with pytest.raises(UserError, match="no base set: give --base-set and --base-check, or build"):
        finetune.finetune(dataclasses.replace(options, base_set=()))


def test_wrong_labels_stop_it_unless_they_may_be_skipped(options, capsys):
    (options.labels / "3.png").unlink()
    with pytest.raises(UserError, match="1 wrong, listed above; .*--skip-bad-labels"):
        finetune.finetune(options)
    assert "3.json: its picture 3.png is missing" in capsys.readouterr().out
    assert finetune.finetune(dataclasses.replace(options, skip_bad_labels=True))


def test_a_program_that_was_named_must_be_there(tmp_path, monkeypatch):
    assert judge.find_program() is None
    with pytest.raises(UserError, match="no such program; build it or drop --magpie"):
        judge.find_program(str(tmp_path / "magpie"))
    (tmp_path / "magpie").symlink_to("/bin/true")
    assert judge.find_program() == tmp_path / "magpie"
    monkeypatch.setenv("MAGPIE", "/bin/true")
    assert judge.find_program().name == "true"


def test_a_failing_program_is_quoted():
    with pytest.raises(UserError, match="run /bin/sh -c: disk on fire"):
        judge.run_program("/bin/sh", "-c", "echo disk on fire >&2; exit 1")


@pytest.mark.parametrize(("size", "expected"), [((40, 60), (40, 60)), ((2048, 1000), (1024, 500)), ((1, 9000), (1, 1024))])
def test_parity_is_taken_on_pictures_that_fit_into_memory(size, expected):
    assert judge.shrunk(np.zeros((*size, 3), np.uint8)).shape == (*expected, 3)


def test_the_parity_of_masks_sees_a_missing_package():
    mask = np.zeros((4, 4), bool)
    mask[1:3, 1:3] = True
    one = judge.Instances(np.zeros((1, 4)), np.array([0.8]), np.array([0]), mask[None])
    none = judge.Instances(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros((0, 4, 4), bool))
    doubtful = one._replace(scores=np.array([0.3001]))
    assert judge.pair_ious(one, one, 0.3) == [1.0, 1.0]
    assert judge.pair_ious(one, none, 0.3) == [0.0]
    assert judge.pair_ious(doubtful, none, 0.3) == []


def test_the_command_says_wrong_options_in_one_line(tmp_path, capsys):
    status = main(["finetune", str(tmp_path / "none"), "--out", str(tmp_path / "o"), "--map", "a=box"])
    assert status == 1
    assert capsys.readouterr().err == f"error: read labels {tmp_path / 'none'}: no such file or folder\n"
    for wrong, told in (
        (("--map", "carton"), "'carton' is not NAME=TYPE"),
        (("--minutes", "0"), "0 is not above 0"),
        (("--minutes", "nan"), "nan is not above 0"),
        (("--steps", "-3"), "-3 is not above 0"),
    ):
        with pytest.raises(SystemExit):
            main(["finetune", "x", "--out", "o", *wrong])
        assert told in capsys.readouterr().err


def test_a_full_disk_is_told_with_its_remedy(tmp_path, monkeypatch, capsys):
    def full(_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(finetune, "finetune", full)
    assert main(["finetune", "x", "--out", "o"]) == 1
    told = "error: [Errno 28] No space left on device; make room, then the same command again\n"
    assert capsys.readouterr().err == told


def test_a_full_disk_leaves_the_last_checkpoint_whole(recipe, tmp_path, monkeypatch):
    run = Run(recipe, torch.device("cpu"))
    run.save(tmp_path / "last.pt")

    def full(_state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="No space left on device; the one before is whole"):
        run.save(tmp_path / "last.pt")
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 0
    assert [p.name for p in tmp_path.glob("last*")] == ["last.pt"]
