import dataclasses
import json
import types
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
    given = {"trust": (key.parent,), "out": tmp_path / "out", "only_merge": True, **more}
    return Plan(bundles=tuple(bundles), base=tmp_path / "universal.onnx", **given)


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
    # What was accepted by mistake, or misspelt, is said anew.
    with pytest.raises(UserError, match="--accept swaped: no such bundle; there are north, south, shifted, swapped"):
        merge.merge(plan(tmp_path, key, bundles, accept=("swaped",)))
    assert merge.merge(plan(tmp_path, key, bundles))
    assert {i["bundle"] for i in merged(tmp_path)["images"]} == {"north", "south"}


def test_a_misspelt_name_at_first_leaves_the_folder_as_good_as_new(tmp_path, key):
    bundles = [project(tmp_path, key, "north", range(9)), project(tmp_path, key, "south", range(100, 109))]
    with pytest.raises(UserError, match="--accept noth: no such bundle"):
        merge.merge(plan(tmp_path, key, bundles, accept=("noth",)))
    assert merge.merge(plan(tmp_path, key, bundles, accept=("north",)))


def test_what_was_unpacked_holds_for_the_keys_that_it_was_verified_by(tmp_path, key):
    bundles = [project(tmp_path, key, "north", range(9))]
    assert merge.merge(plan(tmp_path, key, bundles))
    (tmp_path / "others.pub").write_bytes(bytes(minisign.KeyPair.generate().public_key))
    with pytest.raises(UserError, match="it was begun with other trust; use another --out"):
        merge.merge(plan(tmp_path, key, bundles, trust=(tmp_path / "others.pub",)))
    renamed = tmp_path / "renamed.pub"
    renamed.write_bytes(key.with_suffix(".pub").read_bytes())
    assert merge.merge(plan(tmp_path, key, bundles, trust=(renamed,))), "a key is its contents"


def test_a_poisoned_bundle_takes_no_good_pictures_with_it(tmp_path, key):
    """It holds all the pictures of a good one, with swapped types."""
    swapped = [({"box": "poly_bag", "poly_bag": "box"}.get(name, name), x, y) for name, x, y in TRUTH]
    north, south = project(tmp_path, key, "north", range(9)), project(tmp_path, key, "south", range(100, 109))
    bad = project(tmp_path, key, "bad", range(9), swapped)
    for order in ([north, south, bad], [bad, north, south]):
        assert merge.merge(plan(tmp_path, key, order, out=tmp_path / f"out-{order[0].stem}"))
        told = json.loads((tmp_path / f"out-{order[0].stem}/report.json").read_text())
        assert list(told["quarantined"]) == ["bad"] and told["left_out"] == {}
        assert told["bundles"]["north"]["learned"] + told["bundles"]["north"]["held_back"] == 9


def with_other_types(tmp_path, key, name, seeds, disputed):
    """Of the pictures `disputed`, the poly_bag is called a box."""
    project(tmp_path, key, name, seeds).unlink()
    for seed in disputed:
        (path,) = (tmp_path / name).rglob(f"{seed}.json")
        path.write_text(path.read_text().replace("poly_bag", "box"))
    about = About("us", name, "a hub", "above", "hand", "CC0-1.0", "all agreed")
    contribute(tmp_path / name, tmp_path / f"{name}.tar", key, about, no_blur="drawn")
    return tmp_path / f"{name}.tar"


def test_of_a_disputed_picture_no_third_copy_is_learned(tmp_path, key):
    north = project(tmp_path, key, "north", range(9))
    other = with_other_types(tmp_path, key, "other", [2, *range(60, 68)], [2])
    third = project(tmp_path, key, "third", [2, *range(70, 78)])
    for number, order in enumerate(([north, other, third], [north, third, other], [other, north, third])):
        assert merge.merge(plan(tmp_path, key, order, out=tmp_path / f"out{number}"))
        left_out = json.loads((tmp_path / f"out{number}/report.json").read_text())["left_out"]
        assert {name: len(some) for name, some in left_out.items()} == {"north": 1, "other": 1, "third": 1}


def test_a_bundle_of_which_nothing_is_left_is_told_so(tmp_path, key):
    north, copy = project(tmp_path, key, "north", range(9)), project(tmp_path, key, "copy", range(9))
    assert merge.merge(plan(tmp_path, key, [north, copy]))
    assert report(tmp_path)["quarantined"]["copy"] == {"why": ["none of its pictures is left"], "remedy": "report.json says under left_out why"}


def test_one_bundle_by_itself_is_not_checked(tmp_path, key, capsys):
    assert merge.merge(plan(tmp_path, key, [project(tmp_path, key, "north", range(9))]))
    assert report(tmp_path)["bundles"]["north"]["checked"] is False
    assert "not checked: north: no other bundle has as much to compare it with; look at it" in capsys.readouterr().out


def test_a_folder_that_was_moved_keeps_what_was_found(tmp_path, key, monkeypatch):
    bundles = [project(tmp_path, key, "north", range(9)), project(tmp_path, key, "south", range(100, 109))]
    assert merge.merge(plan(tmp_path, key, bundles))
    before = report(tmp_path)
    (tmp_path / "out").rename(tmp_path / "moved")
    monkeypatch.setattr(merge, "detect_all", lambda *_: pytest.fail("it was found before"))
    assert merge.merge(plan(tmp_path, key, bundles, out=tmp_path / "moved"))
    after = json.loads((tmp_path / "moved/report.json").read_text())
    assert after == before and after["bundles"]["north"]["sure_findings"] == 36


@pytest.mark.parametrize("named", ["../secret.png", "/etc/secret.png", "images/../../secret.png", "images/000077.png", "labels.json", 7, None])
def test_labels_name_no_files_but_those_of_their_bundle(tmp_path, key, monkeypatch, named):
    folder = unpacked(project(tmp_path, key, "north", range(9)), key, tmp_path)
    cv2.imwrite(str(tmp_path / "secret.png"), scene(1))
    document = json.loads((folder / "labels.json").read_text())
    document["images"][0]["file_name"] = named
    (folder / "labels.json").write_text(json.dumps(document))
    monkeypatch.setattr(merge, "read_labels", lambda *_, **__: pytest.fail("a file was looked for"))
    with pytest.raises(UserError, match="which is none of the bundle's pictures"):
        merge.read_pictures("north", folder)


def test_labels_that_nest_without_end_are_told(tmp_path, key):
    folder = unpacked(project(tmp_path, key, "north", range(9)), key, tmp_path)
    (folder / "labels.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="its labels.json is damaged, and not COCO"):
        merge.read_pictures("north", folder)


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


def test_pictures_of_one_fixed_camera_are_no_copies():
    """One ground, one package that was moved; `pytest -s -k fixed_camera` prints the largest and least differences."""
    ground = cv2.resize(np.random.default_rng(3).integers(0, 255, (12, 16, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)

    def placed(x, y):
        image = ground.copy()
        image[y : y + 24, x : x + 30] = (40, 160, 220)
        return image

    def kept(picture):
        return merge.Kept("b", None, "g", merge.picture_hash(picture), merge.thumbnail(picture))

    def apart(one, other):
        return float(np.abs(one.thumbnail - other.thumbnail).max())

    images = [placed(x, y) for x in range(10, 280, 45) for y in range(10, 200, 45)]
    pictures = [kept(image) for image in images]
    moved = [apart(a, b) for n, a in enumerate(pictures) for b in pictures[:n]]
    changed = [[kept(one) for one in copies_of(image)] for image in images]
    copies = [apart(one, copy) for one, some in zip(pictures, changed) for copy in some]
    print(f"copies differ by up to {max(copies):.1f}, other positions by {min(moved):.1f} and more")
    assert 2 * max(copies) < merge.THUMBNAIL_DIFFERENCE_MAX < min(moved) / 1.5
    for number, some in enumerate(changed):
        assert all(merge.same_scene(copy, pictures) == [number] for copy in some)


def copies_of(image):
    """Compressed, made smaller, made lighter."""
    height, width = image.shape[:2]
    yield cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    yield cv2.resize(image, (width * 3 // 4, height * 3 // 4), interpolation=cv2.INTER_AREA)
    yield cv2.convertScaleAbs(image, alpha=0.8, beta=30)


def test_hashes_see_through_size_compression_and_light():
    image = scene(5)

    def kept(picture):
        return merge.Kept("b", None, "g", merge.picture_hash(picture), merge.thumbnail(picture))

    others = [kept(scene(seed)) for seed in range(6, 30)]
    for changed in copies_of(image):
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


def test_a_recording_of_more_than_half_is_learned_from(tmp_path, key):
    seeds = range(12)
    for number in range(12):  # whatever the hashes of the names are
        name = f"north{number}"
        project(tmp_path, key, name, seeds, days=3)
        day = tmp_path / name / "day_0"
        for path in [p for other in ("day_1", "day_2") for p in sorted((tmp_path / name / other).iterdir())[:4]]:
            path.rename(day / path.name)
        about = About("us", name, "a hub", "above", "hand", "CC0-1.0", "all agreed")
        (tmp_path / f"{name}.tar").unlink()
        contribute(tmp_path / name, tmp_path / f"{name}.tar", key, about, no_blur="drawn")
        folder = unpacked(tmp_path / f"{name}.tar", key, tmp_path / name / "own")
        bundle = merge.Bundle(name, folder, {}, merge.read_pictures(name, folder))
        held_back = merge.divide_all([bundle], {"quarantined": {}})
        assert held_back[name] <= 4


def unpacked(bundle, key, tmp_path):
    merge.unpack(bundle, merge.read_public_keys([key.parent]), tmp_path / "unpacked")
    return tmp_path / "unpacked"


def scores(with_types, without):
    return {"mask AP": with_types, "mask AP, types ignored": without, "mask AP50, types ignored": 0, "box AP": 0}


def both(low=-1.0, high=3.0, untyped=(-1.0, 3.0), pictures=30, kind="mask"):
    """Of intervals with types and without."""
    return tuple(
        merge.difference.Comparison(kind, 50.0, 50.0 + (bounds[0] + bounds[1]) / 2, *bounds, (None,) * pictures, typed)
        for bounds, typed in (((low, high), True), (untyped, False))
    )


@pytest.mark.parametrize(
    ("after", "compared", "expected"),
    [
        ((45, 49), {}, []),
        # A fall that chance explains is no loss, however large; a small one that it does not is.
        ((58, 45), {"b": both(-9.0, 0.5)}, []),
        ((58, 49.5), {"b": both(-0.9, -0.1)}, ["b lost: mask AP, with types, changed by -0.5 points on 30 held-out pictures, between -0.9 and -0.1"]),
        ((58, 50), {"a": both(untyped=(-4.0, -1.0))}, ["a lost: mask AP, types ignored, changed by -2.5"]),
        ((58, 40), {"b": both(-20.0, -5.0, pictures=10)}, []),
        ((40, 50), {}, ["nothing was gained: the mean of AP over 2 contributors changed by +0.0"]),
        ((float("nan"), 59), {}, ["nothing was gained"]),
        ((58, 50), {"b": (None, None)}, ["b cannot be judged: no held-back picture shows a package"]),
    ],
)
def test_nobody_may_lose_and_the_mean_must_gain(after, compared, expected):
    before = {"a": scores(40, 60), "b": scores(50, 70)}
    reasons = merge.gate(before, {"a": scores(after[0], 60), "b": scores(after[1], 70)}, {"a": both(), "b": both(), **compared})
    assert len(reasons) == len(expected) and all(r.startswith(e) for r, e in zip(reasons, expected)), reasons


def test_who_gave_boxes_only_is_judged_by_boxes():
    def boxes(ap):
        return {**scores(None, None), "box AP": ap}

    compared = {"a": both(kind="box")}
    assert merge.gate({"a": boxes(40.0)}, {"a": boxes(42.0)}, compared) == []
    (reason,) = merge.gate({"a": boxes(40.0)}, {"a": boxes(39.0)}, compared)
    assert reason == "nothing was gained: the mean of AP over 1 contributors changed by -1.0"
    (reason,) = merge.gate({"a": boxes(40.0)}, {"a": boxes(42.0)}, {"a": both(-4.0, -1.0, kind="box")})
    assert reason.startswith("a lost: box AP, with types, changed by -2.5 points")


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
    monkeypatch.setattr(merge.difference, "compare_both", lambda base, model, path, score_min: both(pictures=3 if "north" in path.name else 30))
    monkeypatch.setattr(merge, "finetune", taught(stopped=True))
    assert merge.merge(asked) is None
    monkeypatch.setattr(merge, "finetune", taught())
    assert merge.merge(asked)
    out = tmp_path / "out"
    assert (out / "base.onnx").read_bytes() == b"better"
    card = (out / "base.md").read_text()
    assert "- makers of north: north, 6 pictures learned (CC0-1.0; above; a hub; labels by hand)" in card
    assert "| south | 3 | 40.0 | 39.5 | 60.0 | 60.0 | 0.0 | 0.0 | mask AP -1.0 to +3.0 |" in card and 'license: "CC0-1.0 AND MIT"' in card
    said = capsys.readouterr().out
    assert "accepted: no contributor lost beyond chance, and the mean gained" in said
    assert "not decided: north: fewer than 20 pictures are held back" in said and "not decided: south" not in said
    monkeypatch.setattr(merge.difference, "compare_both", lambda base, model, path, score_min: both() if "north" in path.name else both(-3.0, -1.0))
    assert merge.merge(asked) is False
    assert not (out / "base.onnx").exists() and (out / "base.rejected.onnx").is_file()
    assert "refused: south lost: mask AP, with types, changed by -2.0 points" in capsys.readouterr().out
    # A copy that was cut off leaves no half file under the name of the whole.
    monkeypatch.setattr(merge.difference, "compare_both", lambda *_: both())
    monkeypatch.setattr(merge.shutil, "copyfile", lambda source, to: (Path(to).write_bytes(b"bet"), pytest.fail("cut off")))
    with pytest.raises(pytest.fail.Exception, match="cut off"):
        merge.merge(asked)
    assert not (out / "base.onnx").exists()


def test_a_base_that_forgot_is_refused_whoever_gained(tmp_path, key, monkeypatch):
    bundles = [project(tmp_path, key, "north", range(9))]
    monkeypatch.setattr(merge.judge.Judge, "scores", judged({"north": 48}))
    monkeypatch.setattr(merge.difference, "compare_both", lambda *_: both())
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


def test_two_types_in_one_place_agree_in_any_order():
    def picture(*packages):
        return types.SimpleNamespace(width=100, height=80, packages=packages)

    box = np.array([10.0, 10.0, 50.0, 60.0])
    bag, item = ("poly_bag", None, box), ("item", None, box)
    assert merge.agree(picture(bag, item), picture(item, bag))
    assert not merge.agree(picture(bag, item), picture(bag, bag))
    assert not merge.agree(picture(bag), picture(("poly_bag", None, box + 60)))
