"""One peer in a process of its own: frames in memory to masks at camera resolution.

    python worker.py ultralytics|plain|zenoh MODEL.onnx FOLDER_OF_PICTURES SCORE_MIN

Reads a number of frames from a line of standard input, runs that many, and answers with a line of
JSON: milliseconds and instances of each.
"""

import json
import queue
import sys
import time
from pathlib import Path

import cv2
import numpy as np

# Unless the command line says otherwise.
SCORE_MIN = 0.25
IOU_MAX = 0.7
# With random weights about four masks in ten show a pixel; all programs leave the others out.
INSTANCES_MAX = 100


class Ultralytics:
    """Its own pipeline, asked for masks at the picture's resolution."""

    def __init__(self, model, score_min):
        from ultralytics import YOLO

        self.score_min = score_min
        self.model = YOLO(model, task="segment")

    def __call__(self, bgr):
        result = self.model.predict(
            bgr, imgsz=640, conf=self.score_min, iou=IOU_MAX, agnostic_nms=True,
            max_det=INSTANCES_MAX, retina_masks=True, device="cpu", verbose=False,
        )[0]
        masks = result.masks.data.cpu().numpy()
        assert masks.shape[1:] == bgr.shape[:2], masks.shape
        boxes = result.boxes
        return boxes.xyxy.numpy(), boxes.conf.numpy(), boxes.cls.numpy(), list(masks)


class Plain:
    """ONNX Runtime, OpenCV and NumPy, written with care for speed.

    Masks are made inside their boxes alone, at the picture's resolution, from logits that are
    upsampled there and nowhere else.
    """

    def __init__(self, model, score_min):
        import onnxruntime

        self.score_min = score_min
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.size = self.input.shape[2]

    def __call__(self, bgr):
        height, width = bgr.shape[:2]
        scale = min(self.size / width, self.size / height)
        content = round(width * scale), round(height * scale)
        left, top = (self.size - content[0]) // 2, (self.size - content[1]) // 2
        canvas = np.full((self.size, self.size, 3), 114, np.uint8)
        canvas[top : top + content[1], left : left + content[0]] = cv2.resize(bgr, content)
        blob = cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True)
        predictions, prototypes = self.session.run(None, {self.input.name: blob})

        coefficient_count, rows, columns = prototypes.shape[1:]
        scores = predictions[0, 4:-coefficient_count]
        best = scores.max(0)
        passing = np.flatnonzero(best >= self.score_min)
        cx, cy, w, h = predictions[0, :4, passing].T
        boxes = np.stack([cx - w / 2, cy - h / 2, w, h], 1)
        kept = cv2.dnn.NMSBoxes(boxes, best[passing], self.score_min, IOU_MAX)[:INSTANCES_MAX]
        anchors = passing[kept]
        logits = predictions[0, -coefficient_count:, anchors] @ prototypes.reshape(
            coefficient_count, -1
        )
        corners = boxes[kept]
        corners[:, 2:] += corners[:, :2]
        corners = (corners - [left, top, left, top]) / scale
        corners = np.clip(corners, 0, [width, height, width, height])
        stride = self.size / rows
        # A box in the padding has no pixel of the picture.
        visible = (np.ceil(corners[:, 2:]) > np.ceil(corners[:, :2])).all(1)
        anchors, corners, logits = anchors[visible], corners[visible], logits[visible]
        masks = []
        for box, logit in zip(np.ceil(corners).astype(int), logits):
            x, y = box[:2]
            # From a pixel of the box to prototypes, both counted from the centres of pixels.
            step = scale / stride
            u = ((x + 0.5) * scale + left) / stride - 0.5
            v = ((y + 0.5) * scale + top) / stride - 0.5
            upsampled = cv2.warpAffine(
                logit.reshape(rows, columns),
                np.array([[step, 0, u], [0, step, v]]),
                (int(box[2] - x), int(box[3] - y)),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            masks.append(upsampled > 0)
        shown = [i for i, mask in enumerate(masks) if mask.any()]
        anchors, masks = anchors[shown], [masks[i] for i in shown]
        return corners[shown], best[anchors], scores[:, anchors].argmax(0), masks


class PlainZenoh(Plain):
    """The same, published on loopback and received again."""

    def __init__(self, model, score_min):
        import zenoh

        super().__init__(model, score_min)
        alone = '{"multicast": {"enabled": false}, "gossip": {"enabled": false}}'
        listen, connect = zenoh.Config(), zenoh.Config()
        for config in (listen, connect):
            config.insert_json5("scouting", alone)
        endpoint = "tcp/127.0.0.1:17448"
        listen.insert_json5("listen/endpoints", json.dumps([endpoint]))
        connect.insert_json5("listen/endpoints", "[]")
        connect.insert_json5("connect/endpoints", json.dumps([endpoint]))
        self.sessions = [zenoh.open(listen), zenoh.open(connect)]
        self.arrived = queue.Queue()
        self.subscriber = self.sessions[1].declare_subscriber(
            "peer/packages", lambda sample: self.arrived.put(len(sample.payload.to_bytes()))
        )
        self.publisher = self.sessions[0].declare_publisher("peer/packages", express=True)
        time.sleep(1)

    def __call__(self, bgr):
        boxes, scores, classes, masks = super().__call__(bgr)
        header = json.dumps([boxes.tolist(), scores.tolist(), classes.tolist(),
                             [mask.shape for mask in masks]])
        payload = header.encode() + b"".join(np.packbits(mask).tobytes() for mask in masks)
        self.publisher.put(payload)
        assert self.arrived.get(timeout=5) == len(payload)
        return boxes, scores, classes, masks


PEERS = {"ultralytics": Ultralytics, "plain": Plain, "zenoh": PlainZenoh}


def main():
    kind, model, folder, score_min = sys.argv[1:]
    pictures = [cv2.imread(str(path)) for path in sorted(Path(folder).glob("*.png"))]
    # Some libraries print where only answers belong.
    answers, sys.stdout = sys.stdout, sys.stderr
    peer = PEERS[kind](model, float(score_min))
    for picture in pictures:
        peer(picture)
    done = 0
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        measured = []
        for _ in range(int(line)):
            picture = pictures[done % len(pictures)]
            start = time.perf_counter()
            instances = len(peer(picture)[3])
            measured.append([(time.perf_counter() - start) * 1e3, instances])
            done += 1
        print(json.dumps(measured), file=answers, flush=True)


if __name__ == "__main__":
    main()
