"""What Label Studio asks a model for, over HTTP on this machine alone: pre-labels, and outlines of what is pointed at.

The protocol is that of `label-studio-ml`: `/health`, `/setup`, `/predict`, `/webhook`. Coordinates are percent of the
picture. Without a prompt, `magpie detect` outlines every package; a box or clicks are outlined by MobileSAM.
"""

import json
import secrets
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np
from pycocotools import mask as coco_mask

from . import CLASSES, UserError
from .data import read_image
from .judge import run_program
from .label_formats import UPLOADED
from .label_studio import LABELS
from .labels import LOCAL_FILES
from .outline import polygons

ADDRESS = "127.0.0.1"
MODEL_VERSION = "magpie"
BODY_BYTES_MAX = 16 << 20
# Pictures whose encoding is remembered, 4 MB each: clicks come one after the other.
ENCODED_MAX = 8
# Numbers of packages that were pointed at begin here, those of pre-labels at 1.
PROMPTED_FROM = 10**12
# As `magpie export` has it, so that outlines have few points.
TOLERANCE_SHARE, TOLERANCE_PX_MIN = 0.05, 1.5


class Refused(UserError):
    """What was asked cannot be done; the status of the answer."""

    def __init__(self, message, status=422):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Controls:
    """The names in a labelling configuration that predictions refer to."""

    polygon: str
    image: str
    value: str  # the key of a task's data that names the picture
    labels: tuple


class Backend:
    """Answers requests; `sam` is `None` where MobileSAM is not installed, and `program` finds packages."""

    def __init__(self, program, model, images, sam):
        self.program, self.model, self.images, self.sam = program, model, Path(images).resolve(), sam
        self.encoded, self.lock = OrderedDict(), threading.Lock()

    def health(self, _):
        return 200, {"status": "UP", "model_class": "Magpie", "prompts": self.sam is not None}

    def setup(self, request):
        controls(request.get("schema"))
        return 200, {"model_version": MODEL_VERSION}

    def webhook(self, _):
        # Nothing is learned here: `scripts/finetune` does that.
        return 201, {"status": "ok"}

    def predict(self, request):
        named, tasks = controls(request.get("label_config")), request.get("tasks")
        if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
            raise Refused("the request has no tasks; Label Studio sends a list of them", 400)
        prompts = ((request.get("params") or {}).get("context") or {}).get("result") or []
        paths = [self.picture(task, named) for task in tasks]
        # One session at a time: two would only share the same cores.
        with self.lock:
            if prompts:
                results = [self.pointed_at(path, prompts, named) for path in paths]
            else:
                results = self.prelabelled(paths, named)
        return 200, {"results": results}

    def picture(self, task, named):
        """Within the folder of pictures, and nowhere else."""
        told = (task.get("data") or {}).get(named.value)
        if not isinstance(told, str) or not told:
            raise Refused(f"task {task.get('id')} names no picture in data[{named.value!r}]")
        name = unquote(told.split(LOCAL_FILES, 1)[1] if LOCAL_FILES in told else urlsplit(told).path)
        last = Path(name).name
        for candidate in (name.lstrip("/"), last, UPLOADED.sub("", last, count=1)):
            path = (self.images / candidate).resolve()
            if candidate and path.is_relative_to(self.images) and path.is_file():
                return path
        raise Refused(f"the picture {told} is not in {self.images}; name its folder by --images")

    def prelabelled(self, paths, named):
        """Every package that `magpie detect` finds, each picture once."""
        with tempfile.TemporaryDirectory() as scratch:
            links = {}
            for number, path in enumerate(dict.fromkeys(paths)):
                links[path] = Path(scratch) / f"{number}{path.suffix}"
                links[path].symlink_to(path)
            printed = run_program(self.program, "detect", scratch, "--json", "--model", self.model)
        found = {}
        for line in printed.splitlines():
            document = json.loads(line)
            found[Path(document["image"]["path"]).name] = document["packages"]
        return [prediction(packages_regions(found.get(links[path].name, []), named)) for path in paths]

    def pointed_at(self, path, prompts, named):
        """One package, of the type that was chosen in the tool."""
        if self.sam is None:
            raise Refused("boxes and clicks need MobileSAM; install it: scripts/install --refine, and start again")
        encoded = self.encoding(path)
        height, width = encoded[1]
        box, points, label = read_prompts(prompts, width, height)
        mask = self.sam.outline(encoded, box=box, points=points)
        if not mask.any():
            return prediction([])
        # Each answer is added to what is drawn already, so its regions need names of their own.
        number = PROMPTED_FROM + secrets.randbelow(PROMPTED_FROM)
        return prediction(regions(number, label if label in named.labels else "", None, mask, named))

    def encoding(self, path):
        key = path, path.stat().st_mtime_ns
        if key not in self.encoded:
            self.encoded[key] = self.sam.encode(read_image(path))
        self.encoded.move_to_end(key)
        while len(self.encoded) > ENCODED_MAX:
            self.encoded.popitem(last=False)
        return self.encoded[key]


def controls(config):
    """Predictions are polygons, so the labelling configuration must have a place for them."""
    try:
        root = ElementTree.fromstring(config or "")
    except (ElementTree.ParseError, TypeError) as error:
        raise Refused(f"the labelling configuration is no XML ({error}); {how_to_configure()}") from error
    polygon, image = root.find(".//PolygonLabels"), root.find(".//Image")
    if polygon is None or image is None or not image.get("value", "").startswith("$"):
        raise Refused(f"the labelling configuration has no Image with PolygonLabels; {how_to_configure()}")
    labels = tuple(label.get("value", "") for label in polygon.iter("Label"))
    if not labels:
        raise Refused(f"PolygonLabels of the labelling configuration has no Label; {how_to_configure()}")
    return Controls(polygon.get("name", ""), image.get("name", ""), image.get("value")[1:], labels)


def how_to_configure():
    return "paste what `python -m magpie_training labelling-backend --print-config` prints"


def read_prompts(prompts, width, height):
    """A box and points in pixels, and the type that was chosen."""
    box, points, label = None, [], ""
    for prompt in prompts:
        value = prompt.get("value") or {}
        try:
            x, y = value["x"] * width / 100, value["y"] * height / 100
            if prompt.get("type") == "rectanglelabels":
                w, h = value["width"] * width / 100, value["height"] * height / 100
                box = x, y, x + w, y + h
            elif prompt.get("type") == "keypointlabels":
                points.append((x, y, bool(int(prompt.get("is_positive", 1)))))
            else:
                continue
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"a {prompt.get('type')} of the request has no place ({error!r})", 400) from error
        label = next((value[key][0] for key in LABELS if value.get(key)), label)
    if box is None and not any(on for *_, on in points):
        raise Refused("nothing was pointed at; draw a smart rectangle, or click on a package")
    return box, points, label


def packages_regions(packages, named):
    found = []
    for number, package in enumerate(packages, 1):
        if package["type"] in named.labels:
            mask = coco_mask.decode(package["mask"]).astype(bool)
            found += regions(number, package["type"], package["score"], mask, named)
    return found


def regions(number, label, score, mask, named):
    """A polygon for each piece; without a type that was chosen, it gets the first."""
    height, width = mask.shape
    pieces = polygons(mask, max(TOLERANCE_PX_MIN, TOLERANCE_SHARE * np.sqrt(mask.sum())))
    told = {} if score is None else {"score": round(float(score), 4)}
    return [
        {
            "id": f"{number}-{piece}", "from_name": named.polygon, "to_name": named.image, "type": "polygonlabels",
            "original_width": width, "original_height": height, "image_rotation": 0, **told,
            "value": {
                "points": (points * 100 / (width, height)).tolist(), "closed": True,
                "polygonlabels": [label or named.labels[0]],
            },
        }
        for piece, points in enumerate(pieces, 1)
    ]


def prediction(result):
    scores = [region["score"] for region in result if "score" in region]
    return {"model_version": MODEL_VERSION, "score": float(np.mean(scores)) if scores else 0.0, "result": result}


def label_config(classes=CLASSES):
    """What to paste into a project: polygons to keep, boxes and clicks to point with."""
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in classes)
    # What points is not kept: no outline lies there.
    smart = 'smart="true" smartOnly="true"'
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <PolygonLabels name="label" toName="image">\n{labels}  </PolygonLabels>\n'
        f'  <RectangleLabels name="box" toName="image" {smart}>\n{labels}  </RectangleLabels>\n'
        f'  <KeyPointLabels name="click" toName="image" {smart}>\n{labels}  </KeyPointLabels>\n</View>\n'
    )


def server(backend, port):
    """Not started yet; on loopback, since it opens pictures for whoever asks."""
    routes = {
        ("GET", "/"): backend.health, ("GET", "/health"): backend.health, ("POST", "/setup"): backend.setup,
        ("POST", "/predict"): backend.predict, ("POST", "/webhook"): backend.webhook,
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30  # seconds in which a request must arrive

        def answer(self):
            route = routes.get((self.command, urlsplit(self.path).path))
            try:
                body = self.body()
                # Pages of other sites may be open in a browser here.
                host = urlsplit("//" + self.headers.get("Host", "")).hostname
                if host not in (ADDRESS, "localhost"):
                    raise Refused(f"this is {ADDRESS}, not {host}", 403)
                if self.command == "POST" and self.headers.get_content_type() != "application/json":
                    raise Refused("send application/json", 415)
                if route is None:
                    raise Refused(f"there is no {self.command} {self.path}", 404)
                status, document = route(body)
            except Refused as error:
                status, document = error.status, {"error": str(error)}
            except (UserError, OSError) as error:
                status, document = 500, {"error": str(error)}
            except (AttributeError, TypeError, KeyError, ValueError) as error:
                status, document = 400, {"error": f"the request is not as Label Studio sends it ({error!r})"}
            if status >= 400:
                self.log_error("%s", document["error"])
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer

        def body(self):
            length = self.headers.get("Content-Length", "0")
            if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
                self.close_connection = True
                raise Refused(f"a body of {length} bytes; at most {BODY_BYTES_MAX} are read", 413)
            data = self.rfile.read(int(length))
            if self.command == "GET":
                return {}
            try:
                document = json.loads(data or b"{}")
            except (ValueError, RecursionError) as error:
                raise Refused(f"the request is no JSON ({error})", 400) from error
            if not isinstance(document, dict):
                raise Refused("the request is no JSON object", 400)
            return document

        def log_request(self, *_):
            pass

    try:
        return ThreadingHTTPServer((ADDRESS, port), Handler)
    except OSError as error:
        raise UserError(f"listen on {ADDRESS}:{port}: {error.strerror}; choose another --port") from error


def serve(program, model, images, port, mobile_sam):
    from .mobile_sam import MobileSam

    try:
        sam = MobileSam(mobile_sam)
    except UserError as error:
        print(f"no boxes and clicks: {error}", flush=True)
        sam = None
    if not Path(images).is_dir():
        raise UserError(f"read pictures {images}: no such folder; name the one that the tasks' pictures lie in")
    with server(Backend(program, model, images, sam), port) as running:
        print(f"http://{ADDRESS}:{running.server_port} waits for Label Studio; Ctrl-C ends it", flush=True)
        running.serve_forever()
