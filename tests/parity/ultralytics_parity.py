"""Masks of an Ultralytics export: magpie's against Ultralytics' own, on one picture.

A test tool for a throw-away environment; see README.md in this folder for the commands.
YOLO11n-seg is made from its yaml with seeded random weights, so that nothing is downloaded; its
scores are biased until enough instances pass. The same .onnx file then runs in Ultralytics
(`retina_masks=True`) and in magpie, and instances are matched by box and score.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from pycocotools import mask as coco
from ultralytics import YOLO

IOU_MAX = 0.7
INSTANCES_MIN = 40
MASK_IOU_MIN = 0.98


def letterboxed(bgr, size_px):
    from ultralytics.data.augment import LetterBox

    picture = LetterBox((size_px, size_px), auto=False)(image=bgr)
    rgb = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1))
    return torch.from_numpy(rgb).float()[None] / 255


def random_model(bgr, size_px, score_min, end_to_end=False):
    """Seeded weights whose activations keep their spread, and scores of which some pass."""
    torch.manual_seed(0)
    model = YOLO("yolo26n-seg.yaml" if end_to_end else "yolo11n-seg.yaml", task="segment")
    model.model.model[-1].end2end = end_to_end
    net, picture = model.model, letterboxed(bgr, size_px)
    net.train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # The statistics of this very picture, or the signal dies out on its way.
            module.momentum = None
    with torch.no_grad():
        for _ in range(4):
            net(picture)
        net.eval()
        head = net.model[-1]
        branches = head.one2one_cv3 if end_to_end else head.cv3
        for branch in branches:
            branch[-1].weight.mul_(8.0)
        predictions = net(picture)
        while isinstance(predictions, (tuple, list)):
            predictions = predictions[0]
        best = predictions[0, :, 4] if end_to_end else predictions[0, 4 : 4 + head.nc].amax(0)
        # About 400 candidates before NMS, which an end-to-end model has behind it.
        threshold = torch.logit(best.sort().values[-150 if end_to_end else -400])
        for branch in branches:
            branch[-1].bias.add_(float(torch.logit(torch.tensor(score_min)) - threshold))
    return model


def ultralytics_instances(onnx, bgr, size_px, score_min):
    model = YOLO(str(onnx), task="segment")
    result = model.predict(
        bgr, imgsz=size_px, conf=score_min, iou=IOU_MAX, agnostic_nms=True, max_det=1000,
        retina_masks=True, device="cpu", verbose=False,
    )[0]
    assert result.masks is not None, "no instance passes"
    masks = result.masks.data.cpu().numpy().astype(np.uint8)
    boxes = result.boxes.xyxy.cpu().numpy()
    scores, classes = result.boxes.conf.cpu().numpy(), result.boxes.cls.cpu().numpy()
    return [
        {"bbox": box, "score": float(s), "type": model.names[int(c)], "mask": mask}
        for box, s, c, mask in zip(boxes, scores, classes, masks)
    ]


def magpie_instances(program, onnx, picture, score_min, agnostic):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(f"[detection]\niou_max = {IOU_MAX}\npackages_max = 1000\n")
        config.write(f"nms_class_agnostic = {str(agnostic).lower()}\n")
        config.flush()
        command = [program, "detect", picture, "--model", onnx, "--json"]
        command += ["--config", config.name, "--score-min", score_min]
        text = subprocess.run(
            [str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    found = json.loads(text)["packages"]
    for instance in found:
        instance["mask"] = coco.decode(instance["mask"])
        instance["bbox"] = np.array(instance["bbox_px"])
    return found


def mask_iou(a, b):
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def matched(reference, found):
    """Pairs whose boxes agree within a pixel, class and score likewise; each found one once."""
    pairs, free = [], list(range(len(found)))
    for instance in reference:
        same = [
            i for i in free
            if found[i]["type"] == instance["type"]
            and abs(found[i]["score"] - instance["score"]) < 0.02
            and np.abs(found[i]["bbox"] - instance["bbox"]).max() < 1.0
        ]
        if same:
            free.remove(same[0])
            pairs.append((instance, found[same[0]]))
    return pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--magpie", type=Path, default="target/release/magpie")
    parser.add_argument("--size", type=int, default=640, help="model input in pixels")
    parser.add_argument("--score-min", type=float, default=0.25)
    parser.add_argument("--end-to-end", action="store_true", help="YOLO26n-seg, without NMS behind it")
    parser.add_argument("--nms", action="store_true", help="NMS inside the exported graph")
    parser.add_argument("--model", type=Path, help="an export to use instead of random weights")
    arguments = parser.parse_args()

    bgr = cv2.imread(str(arguments.image))
    assert bgr is not None, f"{arguments.image} is no picture"
    onnx = arguments.model
    if onnx is None:
        model = random_model(bgr, arguments.size, arguments.score_min, arguments.end_to_end)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "yolo11n-seg-random.pt"
            model.save(checkpoint)
            exported = YOLO(checkpoint).export(
                format="onnx", imgsz=arguments.size, simplify=False, dynamic=False,
                nms=True if arguments.nms else (False if arguments.end_to_end else None),
            )
            onnx = Path(tempfile.gettempdir()) / "yolo-seg-random.onnx"
            Path(exported).replace(onnx)

    reference = ultralytics_instances(onnx, bgr, arguments.size, arguments.score_min)
    # An exported end-to-end model keeps one object under each of its classes, in Ultralytics too.
    found = magpie_instances(
        arguments.magpie.resolve(), onnx, arguments.image, arguments.score_min,
        agnostic=not arguments.end_to_end,
    )
    pairs = matched(reference, found)
    ious = np.array([mask_iou(a["mask"], b["mask"]) for a, b in pairs])
    shift = max((np.abs(a["bbox"] - b["bbox"]).max() for a, b in pairs), default=np.nan)
    print(f"model {onnx}, picture {bgr.shape[1]}x{bgr.shape[0]} px")
    print(f"{len(reference)} instances by Ultralytics, {len(found)} by magpie, {len(pairs)} pairs")
    if len(pairs):
        print(
            f"mask IoU: mean {ious.mean():.4f}, median {np.median(ious):.4f}, "
            f"least {ious.min():.4f}; largest difference of a box edge {shift:.3f} px"
        )
    good = len(pairs) >= INSTANCES_MIN and ious.mean() >= MASK_IOU_MIN
    missed = max(len(reference), len(found)) - len(pairs)
    print(f"{'pass' if good else 'FAIL'}; {missed} without a partner")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
