import dataclasses
import json
from pathlib import Path

import cv2
import minisign
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from magpie_training import UserError, merge
from magpie_training.bundle import About, contribute
from magpie_training.finetune import Base
from magpie_training.merge import Plan

WIDTH, HEIGHT = 128, 96
# Where packages lie in every picture, and of which type they are.
TRUTH = (("box", 10, 10), ("poly_bag", 60, 10), ("box", 10, 55), ("item", 60, 55))
SIDE = 30


def square(x, y):
    return [[x, y], [x + SIDE, y], [x + SIDE, y + SIDE], [x, y + SIDE]]


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    pair = minisign.KeyPair.generate()
    (folder / "ours.key").write_bytes(bytes(pair.secret_key) + b"\n")
    (folder / "ours.pub").write_bytes(bytes(pair.public_key) + b"\n")
    return folder / "ours.key"


def scene(seed):
    """Coarse noise: no two seeds look alike."""
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for number, (_, x, y) in enumerate(TRUTH):
        image[y : y + SIDE, x : x + SIDE] = (40 * number, 160, 220)
    return image


def project(folder, key, name, seeds, said=TRUTH, days=3, **about):
    """A bundle; `said`: what its labels claim."""
    for number, seed in enumerate(seeds):
        day = folder / name / f"day_{number % days}"
        day.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(day / f"{seed}.png"), scene(seed))
        shapes = [{"label": n, "points": square(x, y), "shape_type": "polygon", "group_id": None} for n, x, y in said]
        document = {"shapes": shapes, "imagePath": f"{seed}.png", "imageWidth": WIDTH, "imageHeight": HEIGHT}
        (day / f"{seed}.json").write_text(json.dumps(document))
    fields = {"contributor": f"makers of {name}", "project": name, "place": "a hub", "camera": "above",
              "labelled_by": "hand", "licence": "CC0-1.0", "consent": "all agreed", **about}
    path = folder / f"{name}.tar"
    contribute(folder / name, path, key, About(**fields), no_blur="drawn by a program")
    return path


def sees_the_truth(model, annotations):
    document = json.loads(Path(annotations).read_text())
    results = []
    for image in document["images"]:
        for name, x, y in TRUTH:
            mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
            mask[y : y + SIDE, x : x + SIDE] = 1
            coded = coco_mask.encode(mask)
            coded["counts"] = coded["counts"].decode()
            results.append({"image_id": image["id"], "name": name, "score": 0.9, "bbox": [x, y, SIDE, SIDE], "segmentation": coded})
    return document, results


@pytest.fixture(autouse=True)
def a_model_that_sees_the_truth(monkeypatch, tmp_path):
    monkeypatch.setattr(merge, "detect_all", sees_the_truth)
    base = Base(tmp_path / "universal.onnx", (128, 128), 16, ("box",), "1.0", "", 0.3, "abc")
    (tmp_path / "universal.onnx").write_bytes(b"weights")
    monkeypatch.setattr(merge, "read_base", lambda path: base)


def plan(tmp_path, key, bundles, **more):
    return Plan(bundles=tuple(bundles), trust=(key.parent,), out=tmp_path / "out", base=tmp_path / "universal.onnx",
                **{"only_merge": True, **more})


def merged(tmp_path, name="train"):
    return json.loads((tmp_path / f"out/merged/{name}.json").read_text())


def report(tmp_path):
    return json.loads((tmp_path / "out/report.json").read_text())


def test_bundles_are_merged_by_whole_recordings_with_where_they_are_from(tmp_path, key):
    bundles = [project(tmp_path, key, "north", range(9)), project(tmp_path, key, "south", range(100, 109))]
    assert merge.merge(plan(tmp_path, key, bundles))
    train, north = merged(tmp_path), merged(tmp_path, "held_back/north")
    assert len(train["images"]) == 12 and len(north["images"]) == 3
    assert {i["bundle"] for i in train["images"]} == {"north", "south"} and {i["bundle"] for i in north["images"]} == {"north"}
    assert not {i["group"] for i in train["images"]} & {i["group"] for i in north["images"]}
    assert train["info"]["bundles"]["south"]["contributor"] == "makers of south"
    assert len(train["annotations"]) == 48
    # What a power cut left half-way is made anew.
    half = next((tmp_path / "out/bundles").iterdir())
    half.rename(half.with_name(half.name + ".part"))
    (tmp_path / "out/merged/train.json").unlink()
    assert merge.merge(plan(tmp_path, key, bundles)), "the same command goes on"
    assert merged(tmp_path) == train


def test_poisoned_bundles_are_put_aside_until_somebody_looked(tmp_path, key, capsys):
    shifted = [(name, x + 12, y) for name, x, y in TRUTH]
    swapped = [({"box": "poly_bag", "poly_bag": "box"}.get(name, name), x, y) for name, x, y in TRUTH]
    bundles = [
        project(tmp_path, key, "north", range(9)), project(tmp_path, key, "south", range(100, 109)),
        project(tmp_path, key, "shifted", range(200, 209), shifted), project(tmp_path, key, "swapped", range(300, 309), swapped),
    ]
    assert merge.merge(plan(tmp_path, key, bundles))
    said = capsys.readouterr().out
    assert "quarantined: shifted: its labels lie beside the packages: 40 % of a package's size to the right" in said
    assert "quarantined: swapped: of 36 labels where the base model is sure, 25 % have the type" in said
    assert {i["bundle"] for i in merged(tmp_path)["images"]} == {"north", "south"}
    aside = tmp_path / "out/quarantine/swapped"
    assert len(json.loads((aside / "labels.json").read_text())["images"]) == 9 and len(list(aside.glob("*.jpg"))) == 8
    # What is accepted is learned, and the same folder goes on.
    assert merge.merge(plan(tmp_path, key, bundles, accept=("swapped",)))
    assert {i["bundle"] for i in merged(tmp_path)["images"]} == {"north", "south", "swapped"}
    with pytest.raises(UserError, match="begun with other accept"):
        merge.merge(plan(tmp_path, key, bundles))


def test_copies_count_once_and_disputed_ones_not_at_all(tmp_path, key):
    north = project(tmp_path, key, "north", range(9))
    copy = project(tmp_path, key, "copy", [0, 1, *range(50, 58)])
    disputed = project(tmp_path, key, "disputed", [2, *range(60, 68)])
    for path in (tmp_path / "disputed").rglob("2.json"):
        text = path.read_text().replace("poly_bag", "box")
        path.write_text(text)
    disputed.unlink()
    about = About("us", "disputed", "a hub", "above", "hand", "CC0-1.0", "all agreed")
    contribute(tmp_path / "disputed", disputed, key, about, no_blur="drawn")
    assert merge.merge(plan(tmp_path, key, [north, copy, disputed]))
    left_out = report(tmp_path)["left_out"]
    assert len(left_out["copy"]) == 2 and "of north shows" in next(iter(left_out["copy"].values()))
    assert len(left_out["disputed"]) == 1 and "their labels differ" in next(iter(left_out["disputed"].values()))
    assert len(left_out["north"]) == 1 and "their labels differ" in next(iter(left_out["north"].values()))
    entries = report(tmp_path)["bundles"]
    assert sum(e["learned"] + e["held_back"] for e in entries.values()) == 8 + 8 + 8


def test_hashes_see_through_size_compression_and_light():
    image = scene(5)
    smaller = cv2.resize(image, (96, 72), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    lighter = cv2.convertScaleAbs(image, alpha=0.8, beta=30)

    def kept(picture):
        return merge.Kept("b", None, "g", merge.picture_hash(picture), merge.thumbnail(picture))

    others = [kept(scene(seed)) for seed in range(6, 30)]
    for changed in (smaller, jpeg, lighter):
        assert merge.same_scene(kept(changed), [kept(image), *others]) == [0]


def test_what_is_unsigned_doubled_or_of_a_closed_licence_is_refused_and_the_rest_goes_on(tmp_path, key, capsys):
    north = project(tmp_path, key, "north", range(9))
    south = project(tmp_path, key, "south", range(100, 109), licence="proprietary")
    copy = tmp_path / "copy.tar"
    copy.write_bytes(north.read_bytes())
    cut = tmp_path / "cut.tar"
    cut.write_bytes(north.read_bytes()[:40_000])
    bundles = [north, south, copy, cut, tmp_path / "none.tar"]
    assert merge.merge(plan(tmp_path, key, bundles))
    said = capsys.readouterr().out
    assert f"refused: {copy}: it is the same as {north}; it counts once" in said
    assert f"refused: {south}: its licence is proprietary" in said and "--licence 'proprietary'" in said
    assert f"refused: {cut}: it is cut" in said and f"refused: {tmp_path / 'none.tar'}: no such file" in said
    assert {i["bundle"] for i in merged(tmp_path)["images"]} == {"north"}
    with pytest.raises(UserError, match="begun with other licences"):
        merge.merge(plan(tmp_path, key, bundles, licences=("proprietary",)))


def test_labels_that_cannot_be_meant_put_a_bundle_aside(tmp_path, key):
    north = project(tmp_path, key, "north", range(9))
    cat = project(tmp_path, key, "cat", range(20, 29))
    outside = project(tmp_path, key, "outside", range(30, 39))
    bundles = [north, cat, outside, project(tmp_path, key, "labelme", range(40, 49))]
    merge.merge(plan(tmp_path, key, bundles))
    for manifest in (tmp_path / "out/bundles").glob("*/manifest.json"):
        labels = manifest.with_name("labels.json")
        document = json.loads(labels.read_text())
        name = json.loads(manifest.read_text())["project"]
        if name == "cat":
            document["categories"][0]["name"] = "cat"
        if name == "outside":
            document["annotations"][0]["segmentation"] = [[200, 200, 300, 200, 300, 300]]
            document["annotations"][0]["bbox"] = [200, 200, 100, 100]
        if name == "labelme":
            document = json.loads(next((tmp_path / "north").rglob("*.json")).read_text()) | {"imagePath": "images/000001.png"}
        labels.write_text(json.dumps(document))
    merge.merge(plan(tmp_path, key, bundles))
    aside = report(tmp_path)["quarantined"]
    assert "unknown label names 'cat'" in aside["cat"]["why"][0] and "ask makers of cat for a corrected one" == aside["cat"]["remedy"]
    assert aside["labelme"]["why"] == ["its labels.json is labelme, and not COCO"]
    assert "1 of its labels are wrong" in aside["outside"]["why"][0] and "encloses nothing" in aside["outside"]["why"][0]


def test_recordings_with_the_same_scene_are_not_divided(tmp_path, key):
    # The last picture of day 0 is shown on day 1 again.
    bundle = project(tmp_path, key, "north", range(9))
    with pytest.raises(UserError, match="no bundle is left"):
        merge.merge(plan(tmp_path, key, [tmp_path / "none.tar"]))
    pictures = merge.read_pictures("north", unpacked(bundle, key, tmp_path))
    assert set(merge.joined_groups(pictures).values()) == {f"north/recording {n}" for n in (1, 2, 3)}
    pictures[1].hash, pictures[1].thumbnail = pictures[-1].hash, pictures[-1].thumbnail
    assert pictures[1].group != pictures[-1].group and len(set(merge.joined_groups(pictures).values())) == 2


def unpacked(bundle, key, tmp_path):
    merge.unpack(bundle, merge.read_public_keys([key.parent]), tmp_path / "unpacked")
    return tmp_path / "unpacked"


def scores(with_types, without):
    return {"mask AP": with_types, "mask AP, types ignored": without, "mask AP50, types ignored": 0, "box AP": 0}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"a": scores(45, 60), "b": scores(49.5, 70)}, []),
        ({"a": scores(45, 60), "b": scores(48.5, 70)}, ["b lost: mask AP fell from 50.0 to 48.5, more than 1 point"]),
        ({"a": scores(45, 58), "b": scores(50, 70)}, ["a lost: mask AP, types ignored fell from 60.0 to 58.0, more than 1 point"]),
        ({"a": scores(40, 60), "b": scores(50, 70)}, ["nothing was gained: the mean of mask AP over 2 contributors changed by +0.0"]),
        ({"a": scores(float("nan"), 60), "b": scores(59, 70)}, ["a lost", "nothing was gained"]),
    ],
)
def test_nobody_may_lose_and_the_mean_must_gain(after, expected):
    reasons = merge.gate({"a": scores(40, 60), "b": scores(50, 70)}, after)
    assert len(reasons) == len(expected) and all(r.startswith(e) for r, e in zip(reasons, expected))


def taught(reasons=(), stopped=False):
    def finetune(options):
        options.out.mkdir(exist_ok=True)
        name = f"{options.name}.onnx" if not reasons else f"{options.name}.rejected.onnx"
        (options.out / name).write_bytes(b"better")
        (options.out / "verdict.json").write_text(json.dumps({"reasons": list(reasons)}))
        return None if stopped else not reasons

    return finetune


def judged(points):
    return lambda umpire, model, path: scores(40 if Path(model).name == "universal.onnx" else points[Path(path).stem], 60)


def test_a_base_comes_with_a_card_and_credits(tmp_path, key, monkeypatch, capsys):
    bundles = [project(tmp_path, key, "north", range(9)), project(tmp_path, key, "south", range(100, 109), licence="MIT")]
    asked = plan(tmp_path, key, bundles, only_merge=False)
    monkeypatch.setattr(merge.judge.Judge, "scores", judged({"north": 42, "south": 39.5}))
    monkeypatch.setattr(merge, "finetune", taught(stopped=True))
    assert merge.merge(asked) is None
    monkeypatch.setattr(merge, "finetune", taught())
    assert merge.merge(asked)
    out = tmp_path / "out"
    assert (out / "base.onnx").read_bytes() == b"better"
    card = (out / "base.md").read_text()
    assert "- makers of north: north, 6 pictures learned (CC0-1.0; above; a hub; labels by hand)" in card
    assert "| south | 3 | 40.0 | 39.5 | 60.0 | 60.0 |" in card and 'license: "CC0-1.0 AND MIT"' in card
    assert "accepted: no contributor lost more than 1 point, and the mean gained" in capsys.readouterr().out
    monkeypatch.setattr(merge.judge.Judge, "scores", judged({"north": 48, "south": 38}))
    assert merge.merge(asked) is False
    assert not (out / "base.onnx").exists() and (out / "base.rejected.onnx").is_file()
    assert "refused: south lost: mask AP fell from 40.0 to 38.0" in capsys.readouterr().out


def test_a_base_that_forgot_is_refused_whoever_gained(tmp_path, key, monkeypatch):
    bundles = [project(tmp_path, key, "north", range(9))]
    monkeypatch.setattr(merge.judge.Judge, "scores", judged({"north": 48}))
    monkeypatch.setattr(merge, "finetune", taught(reasons=["it forgot"]))
    assert merge.merge(plan(tmp_path, key, bundles, only_merge=False)) is False
    assert json.loads((tmp_path / "out/verdict.json").read_text())["reasons"] == ["it forgot"]


def test_a_folder_of_something_else_is_left_alone(tmp_path, key):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("ours")
    with pytest.raises(UserError, match=r"it holds something else \(notes.txt\)"):
        merge.merge(plan(tmp_path, key, [tmp_path / "b.tar"]))
    with pytest.raises(UserError, match="read key .*nobody.pub"):
        merge.merge(dataclasses.replace(plan(tmp_path, key, []), trust=(tmp_path / "nobody.pub",)))
