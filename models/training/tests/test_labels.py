import base64
import json

import cv2
import numpy as np
import pytest

from magpie_training import CLASSES, UserError
from magpie_training.data import decode_mask, load_coco
from magpie_training.labels import divide, read_labels, write_coco

WIDTH, HEIGHT = 80, 60
SQUARE = [10.0, 10.0, 40.0, 10.0, 40.0, 30.0, 10.0, 30.0]


def picture(folder, name, shade=60):
    image = np.full((HEIGHT, WIDTH, 3), shade, np.uint8)
    image[10:30, 10:40] = (40, 160, 220)
    cv2.imwrite(str(folder / name), image)


def square_mask():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:30, 10:40] = True
    return mask


def coco(folder, annotations, categories=("box",), file_name="a.png"):
    document = {
        "images": [{"id": 1, "file_name": file_name, "width": WIDTH, "height": HEIGHT}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [10, 10, 30, 20], **a}
            for n, a in enumerate(annotations, 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, 1)],
    }
    (folder / "labels.json").write_text(json.dumps(document))


def labelme(folder, shapes, stem="a"):
    filled = [{"group_id": None, "flags": {}, "shape_type": "polygon", **s} for s in shapes]
    document = {
        "version": "5.5.0", "flags": {}, "shapes": filled, "imagePath": f"{stem}.png",
        "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH,
    }
    (folder / f"{stem}.json").write_text(json.dumps(document))


def cvat(folder, shapes):
    (folder / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta/>'
        f'<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">{shapes}</image></annotations>'
    )


def points(flat):
    return np.reshape(flat, (-1, 2)).tolist()


def masks(reading):
    (only,) = reading.pictures
    return [(name, decode_mask(s, HEIGHT, WIDTH)) for name, s, _, _ in only.packages]


def png_text(part):
    return base64.b64encode(cv2.imencode(".png", part * 255)[1]).decode()


def as_coco_polygon(folder):
    coco(folder, [{"segmentation": [SQUARE]}])


def as_coco_mask_of_cvat(folder):
    # Columns from above: 10 empty ones, then 20 of 60 rows in each of 30 columns.
    counts = [10 * HEIGHT + 10, *([20, 40] * 29), 20]
    counts.append(HEIGHT * WIDTH - sum(counts))
    shape = {"size": [HEIGHT, WIDTH], "counts": counts}
    coco(folder, [{"segmentation": shape, "iscrowd": 1, "attributes": {"occluded": False}}])


def as_labelme_polygon(folder):
    labelme(folder, [{"label": "box", "points": points(SQUARE)}])


def as_labelme_mask(folder):
    part = np.ones((20, 30), np.uint8)
    corners = [[10, 10], [39, 29]]
    labelme(folder, [{"label": "box", "points": corners, "shape_type": "mask", "mask": png_text(part)}])


def as_cvat_polygon(folder):
    pairs = ";".join(f"{x},{y}" for x, y in points(SQUARE))
    cvat(folder, f'<polygon label="box" points="{pairs}" occluded="0" z_order="0"/>')


def as_cvat_mask(folder):
    runs = ", ".join(["5"] + ["30, 5"] * 19 + ["30"])
    cvat(folder, f'<mask label="box" rle="{runs}" left="5" top="10" width="35" height="20"/>')


@pytest.mark.parametrize(
    "write",
    [
        as_coco_polygon, as_coco_mask_of_cvat, as_labelme_polygon, as_labelme_mask,
        as_cvat_polygon, as_cvat_mask,
    ],
)
def test_every_tool_gives_the_same_package(tmp_path, write):
    picture(tmp_path, "a.png")
    write(tmp_path)
    reading = read_labels(tmp_path)
    assert reading.problems == []
    ((name, mask),) = masks(reading)
    assert name == "box"
    assert (mask != square_mask()).mean() < 0.02
    assert mask.sum() > 0


def test_what_is_written_for_training_is_what_was_read(tmp_path):
    picture(tmp_path, "a.png")
    rectangle = {"label": "poly_bag", "points": [[50, 5], [70, 25]], "shape_type": "rectangle"}
    leaving = {"label": "item", "points": [[60, 40], [95, 40], [95, 55], [60, 55]]}
    labelme(tmp_path, [{"label": "box", "points": points(SQUARE)}, rectangle, leaving])
    path = write_coco(read_labels(tmp_path).pictures, tmp_path / "out" / "train.json")
    (record,) = load_coco(path, CLASSES)
    box, bag, item = record.instances
    assert [CLASSES[i.class_id] for i in record.instances] == ["box", "poly_bag", "item"]
    assert bag.segmentation is None and bag.bbox == (50, 5, 70, 25)
    assert box.bbox == (10, 10, 40, 30)
    # What leaves the picture is cut off at its edge.
    assert decode_mask(item.segmentation, HEIGHT, WIDTH)[45, 79]
    assert item.bbox[2] == WIDTH


def test_parts_of_one_package_share_a_group(tmp_path):
    picture(tmp_path, "a.png")
    left, right = [[2, 2], [20, 2], [20, 20], [2, 20]], [[40, 2], [60, 2], [60, 20], [40, 20]]
    other = [[2, 40], [20, 40], [20, 55], [2, 55]]
    shapes = [
        {"label": "box", "points": left, "group_id": 1},
        {"label": "box", "points": right, "group_id": 1},
        {"label": "box", "points": other, "group_id": 2},
    ]
    labelme(tmp_path, shapes)
    first, second = masks(read_labels(tmp_path))
    assert first[1][10, 10] and first[1][10, 50] and not first[1][10, 30]
    assert second[1][50, 10] and not second[1][10, 10]


def test_names_are_matched_mapped_or_refused_with_the_remedy(tmp_path):
    picture(tmp_path, "a.png")
    square = points(SQUARE)
    named = ("Padded Mailer", "carton", "hand")
    labelme(tmp_path, [{"label": n, "points": square} for n in named])
    with pytest.raises(UserError) as caught:
        read_labels(tmp_path)
    told = str(caught.value)
    assert "'carton' (1), 'hand' (1)" in told and "box, padded_mailer, poly_bag, item" in told
    assert "--map carton=box" in told and "\n" not in told
    reading = read_labels(tmp_path, {"carton": "box", "hand": "none"})
    assert [name for name, _ in masks(reading)] == ["padded_mailer", "box"]
    with pytest.raises(UserError, match="'crate' is none of box"):
        read_labels(tmp_path, {"carton": "crate"})
    with pytest.raises(UserError, match="no label of .* is named 'parcel'"):
        read_labels(tmp_path, {"parcel": "box"})


def test_folders_without_labels_or_with_several_kinds_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        read_labels(tmp_path / "nowhere")
    picture(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"no labels there; expected COCO .*, LabelMe .* or CVAT"):
        read_labels(tmp_path)
    labelme(tmp_path, [])
    with pytest.raises(UserError, match="1 pictures, none labelled"):
        read_labels(tmp_path)
    as_cvat_polygon(tmp_path)
    with pytest.raises(UserError, match="a.json is labelme, .*annotations.xml is cvat"):
        read_labels(tmp_path)


def one_problem(folder):
    (problem,) = read_labels(folder).problems
    return problem


def test_missing_broken_and_resized_pictures_are_named(tmp_path):
    as_labelme_polygon(tmp_path)
    assert "a.json: its picture a.png is missing" in one_problem(tmp_path)
    (tmp_path / "a.png").write_bytes(b"not a picture")
    assert "a.png: does not decode" in one_problem(tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    assert "it is 40x30" in one_problem(tmp_path) and "labels it at 80x60" in one_problem(tmp_path)


@pytest.mark.parametrize(
    "drawn",
    [
        [[10, 10], [20, 20]],
        [[10, 10], [20, 20], [30, 30]],
        [[200, 10], [220, 10], [220, 30]],
        [[float("nan"), 10], [20, 20], [30, 10]],
    ],
)
def test_shapes_that_enclose_nothing_are_named(tmp_path, drawn):
    picture(tmp_path, "a.png")
    labelme(tmp_path, [{"label": "box", "points": drawn}, {"label": "box", "points": points(SQUARE)}])
    reading = read_labels(tmp_path)
    (problem,) = reading.problems
    assert "a.json, shape 1 ('box'): encloses nothing" in problem
    assert len(masks(reading)) == 1


def test_lines_are_no_outlines(tmp_path):
    picture(tmp_path, "a.png")
    line = {"label": "box", "points": [[1, 1], [9, 9]], "shape_type": "line"}
    labelme(tmp_path, [line])
    with pytest.raises(UserError, match="shape 1 .* line is no outline; draw a polygon"):
        read_labels(tmp_path)


def test_pictures_without_labels_are_learned_from_only_if_asked(tmp_path):
    for stem in "ab":
        picture(tmp_path, f"{stem}.png")
    labelme(tmp_path, [{"label": "box", "points": points(SQUARE)}])
    labelme(tmp_path, [], stem="b")
    reading = read_labels(tmp_path)
    assert len(reading.pictures) == 1 and "1 pictures without any label" in reading.notes[0]
    assert len(read_labels(tmp_path, keep_empty=True).pictures) == 2


def test_crowds_are_left_out_and_counted(tmp_path):
    picture(tmp_path, "a.png")
    coco(tmp_path, [{"segmentation": [SQUARE]}, {"segmentation": [SQUARE], "iscrowd": 1}])
    reading = read_labels(tmp_path)
    assert len(masks(reading)) == 1 and "1 crowds" in reading.notes[0]


def test_pictures_are_divided_by_their_contents_alone(tmp_path):
    def divided(folder, names):
        folder.mkdir()
        for shade, name in enumerate(names):
            picture(folder, f"{name}.png", shade=10 * shade)
            labelme(folder, [{"label": "box", "points": points(SQUARE)}], stem=name)
        learned, held_out = divide(read_labels(folder).pictures, 0.2)
        assert (len(learned), len(held_out)) == (8, 2)
        return {p.path.read_bytes() for p in held_out}

    assert divided(tmp_path / "one", "abcdefghij") == divided(tmp_path / "two", "jihgfedcba")


def test_too_few_pictures_are_refused(tmp_path):
    picture(tmp_path, "a.png")
    as_labelme_polygon(tmp_path)
    with pytest.raises(UserError, match="1 labelled pictures are too few: label 8 or more"):
        divide(read_labels(tmp_path).pictures, 0.2)
