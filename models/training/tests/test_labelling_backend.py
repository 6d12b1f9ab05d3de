import json
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from magpie_training import labelling_backend
from magpie_training.labelling_backend import Backend, label_config, server

REPOSITORY = Path(__file__).parents[3]
TOOLS = REPOSITORY / ".cache" / "annotation_tools" / "bin" / "python"
WIDTH, HEIGHT = 80, 60
# What Label Studio's own package thinks of a configuration, tasks and answers to them.
ACCEPT = """
import json, sys
from label_studio_sdk.label_interface import LabelInterface
given = json.load(sys.stdin)
interface = LabelInterface(given["config"])
interface.validate()
for task, prediction in zip(given["tasks"], given["predictions"], strict=True):
    interface.validate_task({"data": task["data"]})
    problems = interface.validate_prediction(prediction, return_errors=True)
    assert not problems, problems
"""


class Sam:
    """Outlines the box, or a square around the last point on the package."""

    def __init__(self):
        self.encodings, self.asked = 0, []

    def encode(self, image):
        self.encodings += 1
        return None, image.shape[:2]

    def outline(self, encoded, *, box=None, points=()):
        self.asked.append((box, points))
        if box is None:
            x, y = [point[:2] for point in points if point[2]][-1]
            box = x - 5, y - 5, x + 5, y + 5
        mask = np.zeros(encoded[1], bool)
        x0, y0, x1, y1 = map(round, box)
        mask[y0:y1, x0:x1] = True
        return mask


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A backend that finds one box in each picture, and its address."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("0001.png", "0002.png"):
        cv2.imwrite(str(images / name), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[10:40, 20:60] = 1
    rle = coco_mask.encode(mask)
    package = {"type": "box", "score": 0.8, "mask": {"size": rle["size"], "counts": rle["counts"].decode()}}

    def detect(program, command, folder, *_):
        paths = sorted(Path(folder).iterdir())
        return "\n".join(json.dumps({"image": {"path": str(path)}, "packages": [package]}) for path in paths)

    monkeypatch.setattr(labelling_backend, "run_program", detect)
    backend = Backend("magpie", "model.onnx", images, Sam())
    with server(backend, 0) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield backend, f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def ask(address, path, body=None, data=None):
    data = data if data is not None else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def task(name, number=1):
    return {"id": number, "data": {"image": f"/data/local-files/?d=images/{name}"}}


def asked(tasks, prompts=None, config=None):
    """As Label Studio asks."""
    context = {"context": {"result": prompts} if prompts else None}
    params = {"login": None, "password": None, **context}
    return {
        "tasks": tasks, "model_version": "magpie", "project": "1.1760000000",
        "label_config": config or label_config(), "params": params,
    }


def box(x, y, w, h, label="poly_bag"):
    return {
        "id": "a", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "original_width": WIDTH,
        "original_height": HEIGHT, "image_rotation": 0,
        "value": {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": [label]},
    }


def click(x, y, on=1):
    return {"type": "keypointlabels", "is_positive": on, "value": {"x": x, "y": y, "width": 1, "keypointlabels": ["item"]}}


def outlined(result):
    """The mask of a prediction's polygons, and its labels."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for region in result["result"]:
        points = np.array(region["value"]["points"]) / 100 * (WIDTH, HEIGHT)
        cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
    return mask, [region["value"]["polygonlabels"] for region in result["result"]]


def test_what_it_answers_is_what_label_studios_own_package_accepts(running):
    _, address = running
    assert ask(address, "/health")[1]["status"] == "UP"
    setup = {"project": "1.1760000000", "schema": label_config(), "hostname": "http://localhost:8080", "access_token": "t"}
    assert ask(address, "/setup", setup) == (200, {"model_version": "magpie"})
    assert ask(address, "/webhook", {"action": "ANNOTATION_CREATED"})[0] == 201
    tasks = [task("0001.png"), {"id": 2, "data": {"image": "/data/upload/1/0a1b2c3d-0002.png"}}]
    predictions = ask(address, "/predict", asked(tasks))[1]["results"]
    predictions += ask(address, "/predict", asked(tasks[:1], [box(25, 25, 50, 50)]))[1]["results"]
    if not TOOLS.is_file():
        pytest.skip("scripts/install --test makes .cache/annotation_tools, which has Label Studio's package")
    given = {"config": label_config(), "tasks": tasks + tasks[:1], "predictions": predictions}
    done = subprocess.run([TOOLS, "-c", ACCEPT], input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_without_a_prompt_every_package_that_the_program_finds_is_outlined(running):
    _, address = running
    status, answer = ask(address, "/predict", asked([task("0002.png"), task("0001.png", 2)]))
    assert status == 200 and len(answer["results"]) == 2
    for result in answer["results"]:
        mask, labels = outlined(result)
        assert labels == [["box"]] and result["score"] == 0.8
        assert mask[25, 40] and not mask[5, 5] and not mask[25, 70]


def test_a_box_or_clicks_outline_one_package_of_the_chosen_type(running):
    backend, address = running
    _, answer = ask(address, "/predict", asked([task("0001.png")], [box(25, 50, 50, 25)]))
    mask, labels = outlined(answer["results"][0])
    assert labels == [["poly_bag"]] and backend.sam.asked[-1][0] == (20, 30, 60, 45)
    assert mask[38, 40] and not mask[20, 40]
    first = {region["id"] for region in answer["results"][0]["result"]}
    _, answer = ask(address, "/predict", asked([task("0001.png")], [click(50, 50), click(10, 10, 0)]))
    mask, labels = outlined(answer["results"][0])
    assert first.isdisjoint(region["id"] for region in answer["results"][0]["result"]), "both stay on the picture"
    assert labels == [["item"]] and backend.sam.asked[-1][1] == [(40, 30, True), (8, 6, False)]
    assert mask[30, 40] and backend.sam.encodings == 1, "the picture is remembered from click to click"


def test_a_folder_that_was_not_named_is_not_looked_into(running, tmp_path):
    _, address = running
    cv2.imwrite(str(tmp_path / "secret.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    for name in ("../secret.png", "%2e%2e/secret.png", str(tmp_path / "secret.png"), "0009.png"):
        status, answer = ask(address, "/predict", asked([{"id": 1, "data": {"image": name}}]))
        assert status == 422 and "--images" in answer["error"], (name, answer)


@pytest.mark.parametrize(
    "path, body, status, part",
    [
        ("/predict", {"tasks": [], "label_config": label_config()}, 400, "no tasks"),
        ("/predict", asked([task("0001.png")], config="<View/>"), 422, "no Image with PolygonLabels"),
        ("/predict", asked([task("0001.png")], [click(5, 5, 0)]), 422, "nothing was pointed at"),
        ("/predict", asked([task("0001.png")], [{"type": "keypointlabels", "value": {}}]), 400, "no place"),
        ("/predict", asked([{"id": 7, "data": {}}]), 422, "task 7 names no picture"),
        ("/setup", {"schema": "no XML"}, 422, "no XML"),
        ("/elsewhere", {}, 404, "there is no POST /elsewhere"),
    ],
)
def test_what_cannot_be_done_is_told_and_the_next_request_answered(running, path, body, status, part):
    _, address = running
    found, answer = ask(address, path, body)
    assert found == status and part in answer["error"], answer
    assert ask(address, "/health")[0] == 200


def test_a_request_that_is_no_json_or_too_long_is_refused(running):
    _, address = running
    assert ask(address, "/predict", data=b"{")[0] == 400
    assert ask(address, "/predict", data=b"[1]")[0] == 400
    request = urllib.request.Request(address + "/predict", b"{}", {"Content-Length": str(1 << 30)})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=20)
    assert error.value.code == 413


def test_without_mobile_sam_it_prelabels_and_says_how_to_point(running):
    backend, address = running
    backend.sam = None
    assert ask(address, "/health")[1]["prompts"] is False
    assert ask(address, "/predict", asked([task("0001.png")]))[0] == 200
    status, answer = ask(address, "/predict", asked([task("0001.png")], [click(50, 50)]))
    assert status == 422 and "scripts/install --refine" in answer["error"]
