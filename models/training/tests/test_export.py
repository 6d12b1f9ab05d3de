import ast
import dataclasses
import json

import cv2
import numpy as np
import onnx
import pytest
import torch
from pycocotools import mask as coco_mask

from magpie_training import UserError, deployed, export, weights
from magpie_training import evaluate as judge
from magpie_training.__main__ import main
from magpie_training.decode import Model, fit, letterbox, suppress
from magpie_training.judge import latencies_ms
from magpie_training.model import anchor_points, boxes_from_distances
from magpie_training.train import Run
from magpie_training.weights import blended

OPTIONS = {"size": (128, 128), "version": "0", "training_data": "test", "score_min": 0.3}


@pytest.fixture
def checkpoint(recipe, tmp_path):
    path = tmp_path / "last.pt"
    Run(recipe, torch.device("cpu")).save(path)
    return path


def test_the_file_holds_the_contract_and_agrees_with_the_network(checkpoint, tmp_path):
    out = tmp_path / "model.onnx"
    differences = export.export(checkpoint, out, **OPTIONS)
    assert all(v <= deployed.DIFFERENCE_MAX[n] for n, v in differences.items())
    model = onnx.load(str(out), load_external_data=False)
    assert not any(t.external_data for t in model.graph.initializer)
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties["task"] == "segment" and properties["magpie.layout"] == "yolo-seg"
    assert ast.literal_eval(properties["names"])[1] == "padded_mailer"
    assert ast.literal_eval(properties["imgsz"]) == [128, 128]
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*model.graph.input, *model.graph.output]
    }
    anchors = 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2  # of strides 8 and 16, and of 16 and 32 at half size
    assert shapes["images"] == [1, 128, 128, 3]
    assert shapes["output0"] == [1, 4 + 4 + 64, anchors]
    assert shapes["output1"] == [1, 64, 32, 32]
    assert properties["stride"] == "64"


def test_what_fills_the_input_is_found_at_half_its_size(checkpoint):
    net = weights.net_from_state(weights.read_checkpoint(checkpoint))
    picture = deployed.test_picture(128, 128)
    table, prototypes = deployed.answers(deployed.Deployed(net, 128, 128, 64).eval(), picture)
    halved = np.ascontiguousarray(picture.reshape(1, 64, 2, 64, 2, 3).mean((2, 4)))
    with torch.no_grad():
        raw = net(torch.from_numpy(halved[..., ::-1].copy()).permute(0, 3, 1, 2).float())
    points, strides = anchor_points(64, 64)
    boxes = boxes_from_distances(raw.distances, points, strides)[0, 64:] * 2
    corners = torch.from_numpy(table[0, :4, 320:].T)
    found = torch.cat((corners[:, :2] - corners[:, 2:] / 2, corners[:, :2] + corners[:, 2:] / 2), 1)
    assert torch.allclose(found, boxes, atol=1e-3)
    coefficients = table[0, 8:]
    assert not coefficients[32:, :320].any() and not coefficients[:32, 320:].any()
    doubled = [cv2.resize(p, (32, 32), interpolation=cv2.INTER_LINEAR) for p in raw.prototypes[0].numpy()]
    assert np.allclose(prototypes[0, 32:], doubled, atol=1e-4)


def test_an_exported_file_is_written_for_a_larger_input_and_looks_a_third_time(checkpoint, tmp_path):
    small, large = tmp_path / "small.onnx", tmp_path / "large.onnx"
    export.export(checkpoint, small, **OPTIONS)
    described = ["--version", "1", "--size", "512", "640"]
    assert main(["export", str(small), "--out", str(large), *described]) == 0
    model = onnx.load(str(large))
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties["stride"] == "128" and properties["magpie.training_data"] == "test"
    anchors = sum(512 * 640 // side**2 for side in (8, 16, 32, 64, 128))
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [1, 4 + 4 + 96, anchors]
    own, other = (weights.read_net(p).state_dict() for p in (small, large))
    assert all(torch.equal(own[n], other[n]) for n in own)


def test_half_way_between_two_networks_every_weight_is_their_mean(recipe, checkpoint, tmp_path):
    base = tmp_path / "base.pt"
    Run(dataclasses.replace(recipe, seed=recipe.seed + 1), torch.device("cpu")).save(base)
    described = ["--version", "0", "--size", "128", "128"]

    def stored(out, *more):
        command = ["export", str(checkpoint), "--out", str(tmp_path / out), *described, *more]
        assert main(command) == 0
        graph = onnx.load(str(tmp_path / out)).graph
        return {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}

    own, mean = stored("own.onnx"), stored("mean.onnx", "--half-way-to", str(base))
    other = torch.load(base, weights_only=True)["ema"]
    name = "net.heads.0.scores.weight"
    expected = 0.5 * (own[name] + other[name.removeprefix("net.")].numpy())
    assert np.allclose(mean[name], expected, atol=1e-6) and not np.allclose(mean[name], own[name])


def test_a_run_is_mixed_with_a_file_whose_normalisation_is_folded_in(checkpoint, tmp_path):
    base = tmp_path / "base.onnx"
    export.export(checkpoint, base, **OPTIONS)
    mean = weights.read_net(blended(checkpoint, base, 0.5)).state_dict()
    expected = weights.read_net(base).state_dict()
    assert list(mean) == list(expected)
    assert all(torch.allclose(mean[n], expected[n], atol=1e-5) for n in mean)


def test_networks_whose_weights_do_not_correspond_are_not_mixed(recipe, checkpoint, tmp_path):
    other = tmp_path / "other.pt"
    Run(dataclasses.replace(recipe, width=recipe.width + 8), torch.device("cpu")).save(other)
    with pytest.raises(UserError, match="their weights do not correspond; name its base"):
        blended(checkpoint, other, 0.5)


def test_an_export_that_lost_parity_is_not_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(deployed, "DIFFERENCE_MAX", dict.fromkeys(deployed.DIFFERENCE_MAX, -1.0))
    with pytest.raises(UserError, match="differ; not written"):
        export.export(checkpoint, tmp_path / "model.onnx", **OPTIONS)
    assert not list(tmp_path.glob("*.onnx"))


def test_sizes_that_do_not_fit_the_strides_are_refused(checkpoint, tmp_path):
    with pytest.raises(UserError, match="96x128: it is not a multiple of 64"):
        export.export(checkpoint, tmp_path / "m.onnx", **{**OPTIONS, "size": (96, 128)})


def test_evaluate_scores_every_image_of_the_dataset(checkpoint, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "SCORE_MIN", 0.0)  # the network is untrained
    out = tmp_path / "model.onnx"
    export.export(checkpoint, out, **OPTIONS)
    scores = judge.evaluate(out, dataset, class_agnostic=True)
    assert scores["images"] == 2 and scores["instances"] == 4
    assert 0.0 <= scores["mask"]["ap"] <= 1.0 and 0.0 <= scores["bbox"]["ap50"] <= 1.0


def test_a_perfect_answer_scores_one_and_rectangles_do_not_count_as_masks(dataset):
    document = json.loads(dataset.read_text())
    document["annotations"][0]["id"] = 0
    results = []
    for found in document["annotations"]:
        wanted = found["segmentation"]
        shape = coco_mask.merge(coco_mask.frPyObjects(wanted, 96, 128)) if isinstance(wanted, list) else wanted
        results.append({**{k: found[k] for k in ("image_id", "category_id", "bbox")}, "score": 0.9, "segmentation": shape})
    assert judge.score(document, results, "bbox", False)["ap"] == 1.0
    assert judge.score(document, results, "segm", False)["ap"] == 1.0
    outlined = [r for r, a in zip(results, document["annotations"]) if a["mask_source"] == "polygon"]
    assert judge.score(document, outlined, "segm", False)["ap"] == 1.0
    assert judge.score(document, outlined, "bbox", False)["ap"] < 1.0


def test_a_missing_dataset_is_named(checkpoint, tmp_path):
    with pytest.raises(UserError, match="missing.json: no such file"):
        judge.evaluate("model.onnx", tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.pop("images"), r"not a COCO file \(KeyError\('images'\)"),
        (lambda d: d["annotations"][0].pop("bbox"), r"KeyError\('bbox'\)"),
        (lambda d: d["annotations"][0].update(image_id=9), r"KeyError\(9\)"),
        (lambda d: d["annotations"][2].update(segmentation=[[1, 2, 3]]), "annotation 3 has an outline of no corners"),
    ],
)
def test_datasets_that_cannot_be_scored_are_refused_in_one_line(dataset, change, expected):
    document = json.loads(dataset.read_text())
    change(document)
    dataset.write_text(json.dumps(document))
    with pytest.raises(UserError, match=expected) as caught:
        judge.read_dataset(dataset)
    assert "\n" not in str(caught.value)


def test_a_dataset_need_not_say_that_nothing_is_a_crowd(dataset):
    document = json.loads(dataset.read_text())
    for found in document["annotations"]:
        del found["iscrowd"], found["area"]
    dataset.write_text(json.dumps(document))
    (first, *_) = judge.read_dataset(dataset)["annotations"]
    assert first["iscrowd"] == 0 and first["area"] == 60 * 50


@pytest.mark.parametrize("outline", [[], None])
def test_what_has_no_outline_is_a_rectangle(checkpoint, dataset, tmp_path, monkeypatch, outline):
    monkeypatch.setattr(judge, "SCORE_MIN", 0.0)
    document = json.loads(dataset.read_text())
    for package in document["annotations"]:
        package["segmentation"] = outline
        del package["mask_source"]
    dataset.write_text(json.dumps(document))
    assert {a["mask_source"] for a in judge.read_dataset(dataset)["annotations"]} == {"bbox"}
    export.export(checkpoint, tmp_path / "m.onnx", **OPTIONS)
    assert judge.evaluate(tmp_path / "m.onnx", dataset)["instances"] == 4


def test_pictures_of_another_size_are_not_scored(checkpoint, dataset, tmp_path):
    document = json.loads(dataset.read_text())
    document["images"][1].update(width=96, height=128)
    dataset.write_text(json.dumps(document))
    export.export(checkpoint, tmp_path / "m.onnx", **OPTIONS)
    with pytest.raises(UserError, match="1.png: it is 128x96, its annotations say 96x128"):
        judge.evaluate(tmp_path / "m.onnx", dataset)


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="load model .*m.onnx"):
        Model(tmp_path / "m.onnx")


def test_a_foreign_model_or_provider_is_refused_and_not_replaced(checkpoint, tmp_path):
    export.export(checkpoint, tmp_path / "m.onnx", **OPTIONS)
    with pytest.raises(UserError, match="on NoSuchExecutionProvider: not installed; there are "):
        latencies_ms([tmp_path / "m.onnx"], ["NoSuchExecutionProvider"])
    model = onnx.load(str(tmp_path / "m.onnx"))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(UserError, match="foreign.onnx: it does not take uint8 pixels; name a file that"):
        latencies_ms([tmp_path / "foreign.onnx"])


def test_the_letterbox_centres_and_pads_with_114():
    assert fit(1280, 720, 512, 512) == (0.4, 512, 288, 0, 112)
    assert fit(3, 2, 8, 8)[1:] == (8, 5, 0, 1)
    tensor, _ = letterbox(np.zeros((10, 20, 3), np.uint8), 64, 64)
    assert tensor.shape == (1, 64, 64, 3)
    assert (tensor[0, :16] == 114).all() and (tensor[0, 16:48] == 0).all()


def test_suppression_keeps_the_best_of_each_heap():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], float)
    assert suppress(boxes, np.array([0.5, 0.9, 0.3]), 0.5).tolist() == [1, 2]


def test_what_lies_on_a_crowd_is_neither_right_nor_wrong_whatever_its_type():
    def square(x, y, side):
        return [x, y, x + side, y, x + side, y + side, x, y + side]

    def label(number, category, crowd, x, side):
        return {
            "id": number, "image_id": 1, "category_id": category, "iscrowd": crowd,
            "bbox": [x, x, side, side], "area": side**2, "segmentation": [square(x, x, side)],
        }

    def result(score, x, side):
        (rle,) = coco_mask.frPyObjects([square(x, x, side)], 100, 100)
        box = [x, x, side, side]
        return {"image_id": 1, "name": "item", "score": score, "bbox": box, "segmentation": rle}

    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "box"}, {"id": 2, "name": "item"}],
        "annotations": [label(1, 2, 0, 0, 20), label(2, 1, 1, 50, 40)],
    }
    results = [result(0.9, 60, 10), result(0.8, 0, 20)]
    assert judge.scores(document, results, class_agnostic=False)["mask"]["ap"] == 1.0
