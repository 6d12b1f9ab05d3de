import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from magpie_training import CLASSES, UserError
from magpie_training.__main__ import main
from magpie_training.data import load_coco
from magpie_training.divide import divide, parts, read_division, RealSet
from magpie_training.loader import Stream
from magpie_training.mine import mine
from magpie_training.recipe import Source

BAGS = """
[[sets]]
name = "bags"
annotations = "bags/annotations.json"
licence = "CC BY 4.0: us"
test = ["tuesday"]
"""
ROOMS = """
[[sets]]
name = "rooms"
pictures = "rooms"
licence = "CC0: us"
group_pattern = "^hall"
test = ["hall"]
check_share = 0.25
incomplete = "goods.txt"
"""


@pytest.fixture
def real(tmp_path):
    """Bags of three days, a bag in each picture, and six rooms, two of them halls."""
    picture = np.full((96, 128, 3), 60, np.uint8)
    images, annotations = [], []
    (tmp_path / "bags").mkdir()
    for number, day in enumerate(("monday", "tuesday", "monday", "wednesday")):
        cv2.imwrite(str(tmp_path / f"bags/{number}.jpg"), picture)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 128, "height": 96, "group": day})
        outline = [10, 10, 90, 10, 90, 70, 10, 70]
        annotations.append({"id": number + 1, "image_id": number, "category_id": 1, "bbox": [10, 10, 80, 60],
                            "area": 4800, "iscrowd": 0, "segmentation": [outline]})
    categories = [{"id": 1, "name": "poly_bag"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "bags/annotations.json").write_text(json.dumps(document))
    (tmp_path / "rooms").mkdir()
    for name in ("hall_1", "hall_2", "attic", "cellar", "kitchen", "shop"):
        cv2.imwrite(str(tmp_path / f"rooms/{name}.jpg"), picture)
    (tmp_path / "goods.txt").write_text("# goods\nshop.jpg\nhall_2.jpg\n")
    return tmp_path


def listed(real, text):
    path = real / "division.toml"
    path.write_text(text)
    return path


def names(path):
    return sorted(Path(i["file_name"]).name for i in json.loads(path.read_text())["images"])


def test_whole_days_go_to_one_part(real):
    counts = divide(real, listed(real, BAGS), real / "out")
    assert counts == {"bags/train": 3, "bags/test": 1}
    assert names(real / "out/bags/test/annotations.json") == ["1.jpg"]
    learned = load_coco(real / "out/bags/train/annotations.json", CLASSES)
    assert {r.group for r in learned} == {"bags/monday", "bags/wednesday"}
    assert all(r.path.is_file() and len(r.instances) == 1 for r in learned)


def test_packages_that_nobody_labelled_become_crowds(real):
    (real / "unlabelled.txt").write_text("# seen\n1.jpg 95 10 20 30\n")
    path = listed(real, BAGS + 'unlabelled = "unlabelled.txt"\n')
    divide(real, path, real / "out")
    records = load_coco(real / "out/bags/test/annotations.json", CLASSES)
    assert [(len(r.instances), len(r.crowds)) for r in records] == [(1, 1)]
    for line, expected in (("1.jpg 1 2 3", "want `NAME x y"), ("9.jpg 1 2 3 4", "no picture 9.jpg in bags")):
        (real / "unlabelled.txt").write_text(line)
        with pytest.raises(UserError, match=expected):
            divide(real, path, real / "out")


def test_pictures_without_packages_are_divided_by_series_and_by_hash(real):
    counts = divide(real, listed(real, ROOMS), real / "out")
    assert counts["rooms/test"] == 1 and counts["rooms/train"] + counts.get("rooms/check", 0) == 4
    # What may hold goods is not judged by, and is learned from with care.
    assert names(real / "out/rooms/test/annotations.json") == ["hall_1.jpg"]
    learned = load_coco(real / "out/rooms/train/annotations.json", CLASSES, complete=False, empty=True)
    assert all(r.complete == (r.path.name != "shop.jpg") for r in learned)


def test_shares_take_whole_groups_and_always_the_same(real):
    one = RealSet("x", "ours", pictures="x", test_share=0.3, check_share=0.2)
    groups = [f"g{n // 3}" for n in range(60)]
    first = parts(groups, one)
    assert first == parts(groups[::-1], one)
    counts = [sum(first[g] == part for g in groups) for part in ("train", "check", "test")]
    assert counts == [30, 12, 18]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BAGS.replace('"CC BY 4.0: us"', '""'), "the set 'bags' has no licence note"),
        (BAGS.replace("licence", "# licence"), "the set 'bags' has no licence note"),
        (BAGS + 'check = ["tuesday"]', "'tuesday' in check and in test"),
        (BAGS.replace('"tuesday"', '"sunday"'), "no group 'sunday'; there are monday, tuesday, wednesday"),
        (BAGS + 'pictures = "bags"', "either `annotations` or `pictures`"),
        (BAGS + "test_share = 1.0", "leaves nothing to learn from"),
        (BAGS + "tests = 1", "unknown key 'tests'"),
        ("", "names no"),
        ("sets", "read division"),
        (ROOMS.replace('"goods.txt"', '"none.txt"'), "no file .*none.txt"),
        (ROOMS.replace('"rooms"\nlicence', '"attics"\nlicence'), "no .jpg in"),
    ],
)
def test_a_wrong_division_ends_in_one_line_and_status_1(real, capsys, text, expected):
    path = listed(real, text)
    status = main(["divide", str(real), "--list", str(path), "--out", str(real / "out")])
    error = capsys.readouterr().err
    assert status == 1 and error.count("\n") == 1
    with pytest.raises(UserError, match=expected):
        divide(real, path, real / "out")


def test_a_division_that_is_checked_in_names_licences():
    assert len(read_division(Path(__file__).parents[1] / "recipes/division.toml")) >= 4


@pytest.fixture
def divided(real, recipe):
    """A recipe that learns bags and rooms, with what judges beside it."""
    divide(real, listed(real, BAGS + ROOMS), real / "out")
    sources = (
        Source(str(real / "out/bags/train/annotations.json"), share=0.5, zoom=(0.9, 1.1)),
        Source(str(real / "out/rooms/train/annotations.json"), share=0.5, empty=True, complete=False),
    )
    judges = tuple(str(real / f"out/{name}/test/annotations.json") for name in ("bags", "rooms"))
    return dataclasses.replace(recipe, sources=sources, held_out=judges, paste_share=0.0, mosaic_share=0.0)


def test_a_run_learns_from_pictures_with_and_without_packages(divided):
    stream = Stream(divided)
    counts = {len(stream[i]["classes"]) for i in range(20)}
    assert 0 in counts and max(counts) == 1


def test_pictures_without_packages_keep_their_ground(divided):
    only = dataclasses.replace(divided, sources=divided.sources[1:], ground_share=1.0)
    stream = Stream(only)
    stream.ground = lambda *_: pytest.fail("laid on another ground")
    assert all(len(stream[i]["classes"]) == 0 for i in range(5))


def test_a_run_that_learns_a_day_it_is_judged_by_does_not_begin(divided, real):
    path = real / "out/bags/train/annotations.json"
    document = json.loads(path.read_text())
    document["images"][0]["group"] = "bags/tuesday"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="the group 'bags/tuesday' is in it and in .*test.*, which judges"):
        Stream(divided)


def test_a_run_that_learns_a_picture_it_is_judged_by_does_not_begin(divided, real):
    learned = (*divided.sources, Source(str(real / "bags/annotations.json")))
    with pytest.raises(UserError, match="the picture 1.jpg is in it and in"):
        Stream(dataclasses.replace(divided, sources=learned))


def test_grounds_are_pictures_in_which_surely_nothing_is_a_package(divided, real):
    folder = real / "out/rooms/train/annotations.json"
    stream = Stream(dataclasses.replace(divided, backgrounds=(str(folder),)))
    assert {p.name for p in stream.backgrounds} <= {"attic.jpg", "cellar.jpg", "kitchen.jpg"}


def test_labels_in_pictures_without_packages_are_refused(real):
    with pytest.raises(UserError, match="it has labels"):
        load_coco(real / "bags/annotations.json", CLASSES, empty=True)


def test_pictures_are_drawn_by_their_weights(divided, real):
    path = real / "out/rooms/train/annotations.json"
    document = json.loads(path.read_text())
    document["images"][0]["weight"] = 30.0
    path.write_text(json.dumps(document))
    stream = Stream(dataclasses.replace(divided, sources=divided.sources[1:]))
    rng = np.random.default_rng(0)
    drawn = [stream.pick(stream.shares, rng)[0].record.weight for _ in range(200)]
    assert 150 < drawn.count(30.0) < 200


def test_a_weight_that_is_none_is_named(divided, real):
    path = real / "out/rooms/train/annotations.json"
    document = json.loads(path.read_text())
    document["images"][0]["weight"] = 0
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="weight is 0.0, want a number above 0"):
        Stream(divided)


class Finder:
    """Finds two things in a bright picture, none in a dark one."""

    def __init__(self, _path):
        pass

    def __call__(self, picture, score_min):
        from magpie_training.decode import Instances

        count = 2 if picture.mean() > 100 else 0
        return Instances(np.zeros((count, 4)), np.full(count, 0.75), np.zeros(count), np.zeros((count, 9, 9)))


def test_pictures_with_false_findings_weigh_more(divided, real, monkeypatch):
    monkeypatch.setattr("magpie_training.mine.Model", Finder)
    cv2.imwrite(str(real / "rooms/attic.jpg"), np.full((96, 128, 3), 200, np.uint8))
    one = RealSet("rooms", "ours", pictures="rooms")
    path = listed(real, f'[[sets]]\nname = "{one.name}"\npictures = "rooms"\nlicence = "ours"')
    divide(real, path, real / "all")
    source = real / "all/rooms/train/annotations.json"
    report = mine("model", source, source.with_name("mined.json"), 0.2)
    assert report == {"pictures": 6, "found": 2, "with_findings": 1}
    weights = {r.path.name: r.weight for r in load_coco(source.with_name("mined.json"), CLASSES, empty=True)}
    assert weights.pop("attic.jpg") == 2.5 and set(weights.values()) == {1.0}


def test_only_pictures_without_labels_are_mined(divided, real, monkeypatch):
    monkeypatch.setattr("magpie_training.mine.Model", Finder)
    source = real / "out/bags/train/annotations.json"
    with pytest.raises(UserError, match="it has labels"):
        mine("model", source, source.with_name("mined.json"), 0.2)
    rooms = real / "out/rooms/train/annotations.json"
    with pytest.raises(UserError, match="want a file beside"):
        mine("model", rooms, real / "mined.json", 0.2)
