import dataclasses
import json

import cv2
import numpy as np
import pytest

from magpie_training import CLASSES, UserError, augment, loader
from magpie_training.augment import Canvas, Target
from magpie_training.data import Instance, draw_ids, load_coco, read_sample
from magpie_training.loader import Stream
from magpie_training.plain_ground import make, outline


def canvas():
    """A grey box in a noisy picture, and a rectangle of which no outline is known."""
    image = np.random.default_rng(0).integers(0, 80, (128, 128, 3), np.uint8)
    image[32:96, 32:96] = 150
    ids = np.zeros((64, 64), np.uint16)
    ids[16:48, 16:48] = 1
    targets = [
        Target(0, np.array([32.0, 32, 96, 96]), 1.0),
        Target(0, np.array([0.0, 0, 30, 30]), 0.0),
    ]
    return Canvas(image, ids, np.ones((64, 64), bool), targets)


def test_prints_stay_on_their_package():
    triangle = np.tri(32, dtype=bool)  # within the box of the package, its lower left half
    for seed in range(10):
        before, after = canvas(), canvas()
        for one in (before, after):
            one.ids[16:48, 16:48] = triangle
        augment.reprint(after, 1.0, None, np.random.default_rng(seed))
        changed = (before.image != after.image).any(-1)
        assert changed[32:96, 32:96].mean() > 0.02
        near = cv2.dilate(cv2.resize(before.ids.astype(np.uint8), None, fx=2, fy=2), np.ones((5, 5)))
        assert not changed[near == 0].any()
        assert (before.ids == after.ids).all()


def test_a_print_is_dark_where_the_package_is():
    lit = canvas()
    lit.image[32:64, 32:96] = 40
    rng = np.random.default_rng(1)
    augment.reprint(lit, 1.0, None, rng)
    assert lit.image[32:64, 32:96].mean() < 0.6 * lit.image[64:96, 32:96].mean()


def pasted(seed):
    """A canvas that a large cut-out was laid on, and how it was before."""
    before, after = canvas(), canvas()
    thing = np.full((60, 60, 3), 250, np.uint8), np.ones((60, 60), np.uint8), Instance(1, (0, 0, 60, 60), [])
    augment.paste(after, thing, 1.0, np.random.default_rng(seed))
    return before, after


def test_what_is_left_of_a_covered_package_is_no_ground():
    covered = {0: 0, 1: 0}  # by their number: the outlined one, the rectangle
    for seed in range(80):
        before, after = pasted(seed)
        if len(after.targets) == len(before.targets) + 1 or not after.targets:
            assert after.trusted.all()
            continue
        over = after.ids == len(after.targets)
        assert after.trusted[over].all()
        left = {0: np.s_[16:48, 16:48], 1: np.s_[0:15, 0:15]}
        for number, place in left.items():
            if all(t.class_id or (t.mask_weight > 0) == bool(number) for t in after.targets):
                covered[number] += 1
                assert not after.trusted[place][~over[place]].any()
    assert all(covered.values())


def test_packages_beyond_the_most_that_are_learned_are_no_ground(recipe, monkeypatch):
    monkeypatch.setattr(loader, "TARGETS_MAX", 1)
    item = Stream(recipe).tensors(canvas(), np.random.default_rng(0))
    assert len(item["classes"]) == 1
    # Whichever was left out: the outlined package's place, or the rectangle's.
    kept = bool(item["mask_weights"][0] > 0)
    left_out, learned = ((0, 0), (20, 20)) if kept else ((20, 20), (0, 0))
    assert not item["trusted"][left_out] and item["trusted"][learned] and item["trusted"][60, 60]


def test_plain_ground_is_smooth_and_keeps_what_is_labelled():
    for seed in range(10):
        before, after = canvas(), canvas()
        rng = np.random.default_rng(seed)
        augment.lay_on(after, augment.plain_ground(128, 128, rng), rng)
        inside = (slice(34, 94), slice(34, 94))
        assert (before.image[inside] == after.image[inside]).all()
        ground = after.image[:28].astype(int)
        assert np.abs(np.diff(ground, axis=1)).max() <= 12


def test_a_photographed_ground_is_part_of_its_picture():
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[..., 1] = np.linspace(40, 120, 90)
    for seed in range(20):
        ground = augment.photographed_ground(picture, 64, 64, np.random.default_rng(seed))
        assert ground.shape == (64, 64, 3)
        assert not ground[..., [0, 2]].any()
        assert 40 * np.exp(-0.5) - 1 <= ground[..., 1].min() <= ground[..., 1].max() <= 163


def test_a_background_shows_what_is_pasted_and_nothing_else(recipe, tmp_path):
    cv2.imwrite(str(tmp_path / "room.jpg"), np.full((80, 120, 3), (10, 200, 10), np.uint8))
    rooms = dataclasses.replace(
        recipe, backgrounds=(str(tmp_path),), background_share=1.0, paste_share=0.0, paste_max=3
    )
    items = [Stream(rooms)[n] for n in range(12)]
    assert max(len(item["classes"]) for item in items) <= 3
    assert any(len(item["classes"]) == 0 for item in items)
    assert any(len(item["classes"]) for item in items)
    assert all(item["trusted"].all() for item in items)


def test_a_shadow_only_darkens():
    image = canvas().image
    darker = [augment.cast_shadow(image, np.random.default_rng(seed)) for seed in range(10)]
    assert all((d <= image).all() for d in darker)
    assert sum((d < image).any() for d in darker) >= 5


def test_items_with_prints_depend_on_their_number_alone(recipe):
    printed = dataclasses.replace(recipe, reprint_share=1.0, ground_share=0.5)
    first, again = Stream(printed), Stream(printed)
    again[1]
    assert (first[4]["image"] == again[4]["image"]).all()
    assert (first[4]["image"] != Stream(recipe)[4]["image"]).any()


def test_a_package_is_made_to_fill_the_canvas(recipe):
    sample = read_sample(Stream(recipe).pools[0][0])
    sides = {0.0: [], 1.0: []}
    for fill, found in sides.items():
        for seed in range(60):
            canvas = augment.render(sample, 128, 128, (0.7, 1.0), np.random.default_rng(seed), fill)
            found += [max(t.bbox[2:] - t.bbox[:2]) / 128 for t in canvas.targets]
    ordinary, filling = (np.array(x) for x in sides.values())
    assert (ordinary > 0.7).mean() < 0.1 and (filling > 0.7).mean() > 0.2


def test_a_folder_without_prints_is_named(recipe, tmp_path):
    (tmp_path / "prints").mkdir()
    with pytest.raises(UserError, match=r"no \.jpg in .*prints"):
        Stream(dataclasses.replace(recipe, prints=(str(tmp_path / "prints"),)))


def photograph(path):
    """A printed thing with a soft shadow on a light ground that falls off to one side."""
    rng = np.random.default_rng(2)
    ground = np.linspace(200, 235, 320)[None, :, None] + np.zeros((240, 1, 3))
    corners = np.array([[90, 70], [230, 60], [240, 170], [80, 160]], np.int32)
    mask = cv2.fillPoly(np.zeros((240, 320), np.uint8), [corners], 1)
    shadow = cv2.GaussianBlur(np.roll(mask, 4, 1).astype(np.float32), (0, 0), 6)[..., None]
    print_ = np.kron(rng.integers(20, 160, (12, 16, 3)), np.ones((20, 20, 1)))
    image = np.where(mask[..., None] > 0, print_, ground * (1 - 0.1 * shadow))
    image = np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return mask


def test_a_thing_on_a_plain_ground_is_outlined(tmp_path):
    truth = photograph(tmp_path / "thing.jpg") > 0
    contour = outline(cv2.imread(str(tmp_path / "thing.jpg")))
    found = cv2.drawContours(np.zeros(truth.shape, np.uint8), [contour], -1, 1, -1) > 0
    assert (truth & found).sum() / (truth | found).sum() > 0.95
    noise = np.random.default_rng(3).integers(0, 255, (240, 320, 3), np.uint8)
    assert outline(noise) is None


def test_a_list_becomes_one_dataset_for_each_split(tmp_path, recipe):
    for name in ("one", "two"):
        photograph(tmp_path / f"{name}.jpg")
    names = tmp_path / "list.txt"
    names.write_text("# known\ntrain box one\ntest item two\n")
    assert make(tmp_path, names, tmp_path / "out") == {"train": 1, "test": 1}
    source = dataclasses.replace(
        recipe.sources[0], annotations=str(tmp_path / "out/train/annotations.json")
    )
    item = Stream(dataclasses.replace(recipe, sources=(source,), mosaic_share=0.0))[0]
    assert (item["mask_weights"] > 0).all() and len(item["classes"])


def test_given_corners_become_the_mask(tmp_path):
    truth = photograph(tmp_path / "thing.jpg") > 0
    noise = np.random.default_rng(3).integers(0, 255, (240, 320, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "noise.jpg"), noise)
    names = tmp_path / "list.txt"
    corners = "90,70 230,60 240,170 80,160"
    names.write_text(f"train box thing {corners}\ntrain box noise 100,100 320,100 320,240 # looked at\n")
    make(tmp_path, names, tmp_path / "out")
    thing, edge = load_coco(tmp_path / "out/train/annotations.json", CLASSES)
    assert ((draw_ids(thing) > 0) == truth).all()
    assert thing.instances[0].bbox == (80, 60, 241, 171)
    assert edge.instances[0].bbox == (100, 100, 320, 240)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train box three\n", "no picture three.jpg"),
        ("train crate one\n", "line 1.*classes: box"),
        ("train box\n", "line 1"),
        ("train box noise\n", "not plain; give its outline's corners"),
        ("train box one 10,10 50,10\n", "line 1.*three corners"),
        ("train box one 10,10 50,10 50\n", "line 1.*three corners"),
        ("train box one 10,10 50,10 50,x\n", "line 1.*three corners"),
        ("train box one 10,10 20,20 30,30\n", "line 1.*around an area"),
        ("train box one 10,10 50,10 nan,50\n", "line 1.*around an area"),
        ("train box one 10,10 400,10 50,50\n", "corners outside its 320x240 pixels"),
    ],
)
def test_wrong_lists_are_named(tmp_path, text, expected):
    photograph(tmp_path / "one.jpg")
    noise = np.random.default_rng(3).integers(0, 255, (240, 320, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "noise.jpg"), noise)
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=expected):
        make(tmp_path, tmp_path / "list.txt", tmp_path / "out")


def test_a_crowd_is_neither_a_package_nor_ground(dataset):
    document = json.loads(dataset.read_text())
    for at in (0, 1):  # of the first picture: a mask, and a mere rectangle
        document["annotations"][at]["iscrowd"] = 1
    dataset.write_text(json.dumps(document))
    record = load_coco(dataset, CLASSES)[0]
    assert record.instances == () and len(record.crowds) == 2
    canvas = augment.render(read_sample(record), 128, 128, (0.9, 1.0), np.random.default_rng(0))
    assert not canvas.targets and not canvas.ids.any()
    assert 0.1 < (~canvas.trusted).mean() < 0.6
    box = (canvas.image[::2, ::2] == (40, 160, 220)).all(-1)
    assert box.sum() > 200 and not canvas.trusted[box].any()
