import json

import numpy as np
import onnx
import pytest
import torch
from pycocotools import mask as coco_mask

from magpie_training import UserError, calibrate, deployed, export
from magpie_training.__main__ import main
from magpie_training.decode import load_session
from magpie_training.train import Run

OPTIONS = {"size": (128, 128), "version": "0", "training_data": "ours", "score_min": 0.3}


@pytest.fixture
def model(recipe, tmp_path):
    Run(recipe, torch.device("cpu")).save(tmp_path / "last.pt")
    export.export(tmp_path / "last.pt", tmp_path / "model.onnx", **OPTIONS)
    return tmp_path / "model.onnx"


def findings(count, slope, offset):
    """Scores, and verdicts that are right as often as the moved scores say."""
    rng = np.random.default_rng(3)
    scores = rng.uniform(0.06, 0.95, count)
    right = rng.random(count) < calibrate.moved(scores, slope, offset)
    return calibrate.Judged(scores, right, packages=count, pictures=100)


def judged(scores, right, packages=5, pictures=1):
    return calibrate.Judged(np.array(scores, float), np.array(right, bool), packages, pictures)


def test_the_fit_finds_how_often_scores_are_right():
    slope, offset = calibrate.fit([findings(20_000, 1.6, -0.8)])
    assert slope == pytest.approx(1.6, abs=0.1) and offset == pytest.approx(-0.8, abs=0.1)


def test_a_set_counts_alike_however_many_pictures_it_has():
    one, other = findings(20_000, 1.6, -0.8), findings(20_000, 0.8, 0.4)
    twice = calibrate.Judged(np.tile(one.scores, 3), np.tile(one.right, 3), 60_000, 300)
    assert calibrate.fit([one, other]) == pytest.approx(calibrate.fit([twice, other]))
    assert calibrate.right_share([one, other], 0.5) == pytest.approx(calibrate.right_share([twice, other], 0.5))


@pytest.mark.parametrize(
    ("slope", "count", "expected"),
    [(-2.0, 2000, "no more often right"), (1.0, 20, "want 30 of each")],
)
def test_findings_that_teach_no_scale_are_refused(slope, count, expected):
    with pytest.raises(UserError, match=expected):
        calibrate.fit([findings(count, slope, 0.0)])


def test_the_least_score_is_the_lowest_that_is_right_often_enough():
    labelled = judged([0.9, 0.8, 0.7, 0.6, 0.5], [True, True, True, False, False])
    assert calibrate.least_score([labelled], 0.75, 0.3) == 0.51
    assert calibrate.least_score([labelled], 0.6, 0.3) == 0.05
    with pytest.raises(UserError, match="no score reaches"):
        calibrate.least_score([labelled._replace(right=~labelled.right)], 0.9, 0.3)


def test_pictures_without_packages_bound_the_least_score_by_their_number_of_false_findings():
    labelled = judged([0.9, 0.8, 0.5], [True, True, True])
    empty = judged([0.7, 0.6, 0.3, 0.2], [False] * 4, packages=0, pictures=4)
    assert calibrate.least_score([labelled, empty], 0.9, 0.5) == 0.31
    assert calibrate.least_score([labelled, empty], 0.9, 0.25) == 0.61
    assert calibrate.least_score([labelled, empty, empty._replace(pictures=1)], 0.9, 0.5) == 0.71
    with pytest.raises(UserError, match="no picture shows a package"):
        calibrate.least_score([empty], 0.9, 0.3)


def square(x, y, side, **more):
    mask = np.zeros((40, 40), np.uint8, order="F")
    mask[y : y + side, x : x + side] = 1
    rle = coco_mask.encode(mask)
    return {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}, "iscrowd": 0, **more}


def test_each_label_makes_one_finding_right_and_crowds_none():
    image = {"height": 40, "width": 40}
    labels = [square(0, 0, 10), square(20, 20, 15, iscrowd=1)]
    found = [square(0, 0, 10), square(1, 0, 10), square(22, 22, 6), square(0, 30, 8)]
    assert calibrate.verdicts_of(found, labels, image) == [True, False, None, False]
    assert calibrate.verdicts_of(found[:2], [], image) == [False, False]
    # What is labelled within a crowd is right all the same.
    around = [square(0, 0, 10), square(0, 0, 14, iscrowd=1)]
    assert calibrate.verdicts_of(found[:2], around, image) == [True, None]
    polygon = {"segmentation": [[0, 0, 10, 0, 10, 10, 0, 10]], "iscrowd": 0}
    assert calibrate.verdicts_of(found[:1], [polygon], image) == [True]


def test_folded_in_the_scores_move_and_nothing_else_does(model, tmp_path):
    out = tmp_path / "calibrated.onnx"
    net = calibrate.scaled(calibrate.read_net(model), 1.5, -0.25)
    calibrate.write(net, model, out, calibrate.read_base(model), "9", 0.41)
    picture = deployed.test_picture(128, 128)
    before, after = (load_session(p).run(None, {"images": picture}) for p in (model, out))
    moved = calibrate.moved(before[0][:, 4:8].astype(float), 1.5, -0.25)
    assert np.allclose(after[0][:, 4:8], moved, atol=1e-4)
    same = np.r_[0:4, 8 : before[0].shape[1]]
    assert np.allclose(after[0][:, same], before[0][:, same], atol=1e-3)
    properties = {p.key: p.value for p in onnx.load(str(out)).metadata_props}
    assert (properties["magpie.version"], properties["magpie.score_min"]) == ("9", "0.41")
    assert properties["magpie.training_data"] == "ours"


def test_a_calibration_is_made_of_labelled_pictures(model, dataset, tmp_path, monkeypatch, capsys):
    def detect(_model, path):
        document = json.loads(path.read_text())
        document["images"][1]["all_polygon"] = False
        rng = np.random.default_rng(0)
        results = []
        for score in rng.uniform(0.06, 0.99, 300):
            document["annotations"].append(dict(document["annotations"][0], id=1000 + len(results)))
            hit = rng.random() < score
            box = document["annotations"][0]["segmentation"] if hit else square(0, 0, 3)["segmentation"]
            if not hit:
                mask = coco_mask.encode(np.asfortranarray(np.eye(96, 128, dtype=np.uint8)))
                box = {"size": mask["size"], "counts": mask["counts"].decode()}
            results.append({"image_id": 0, "score": float(score), "segmentation": box})
        return document, results

    monkeypatch.setattr(calibrate, "detect_all", detect)
    out = tmp_path / "out.onnx"
    arguments = ["calibrate", str(model), str(dataset), "--out", str(out), "--version", "2", "--precision", "0.8"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "1 pictures, 302 packages" in printed and "| 0.70 |" in printed
    assert "packages found" in printed.splitlines()[-1]
    assert out.is_file()


def test_too_few_pictures_to_calibrate_on_end_in_one_line_and_status_1(model, dataset, tmp_path, capsys):
    arguments = ["calibrate", str(model), str(dataset), "--out", str(tmp_path / "out.onnx"), "--version", "2"]
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: calibrate: ")
    assert not (tmp_path / "out.onnx").exists()
