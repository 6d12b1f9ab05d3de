"""What one node does for `relabel`: a slice of pictures through `magpie detect`, one file of labels out.

Ray carries this module to its nodes as it is, so a node needs the program, Ray and, for object stores,
`s3fs`; nothing else of this project. It keeps no state between slices.
"""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import CLASSES, UserError
from .rle import run_lengths

# As `crates/camera` takes a file in a folder for a picture.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".pgm", ".ppm")
UNREAD = re.compile(r'^ERROR read the image "(\d+)": (.*)$')
# By these a program ends itself; the other signals come from outside.
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
PANIC, MISCONFIGURED = 101, 78
KILLED_MAX = 3
AGAIN = "give the same command again"
PER_PICTURE = 1000  # ids of annotations that each picture has for itself
AT_ONCE = 32  # objects that are in memory on their way to this node's disk
YOUNG_S = 60
ONE_REQUEST = {"max_concurrency": 1}  # else s3fs asks for the size before it asks for the object
LIBRARIES = ("botocore", "aiobotocore", "aiohttp")
GREY_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAK0lEQVRYw+3MMREAAAgE"
    "oNfkRjeEmwcBqMlNRyAQCAQCgUAgEAgEAsHzYAFAdAEAmH6OfgAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True)
class Job:
    """What decides the labels, the same for every slice."""

    source: str
    out: str
    program: str
    program_sha256: str
    model_sha256: str
    score_min: float | None
    threads: int
    slice_pictures: int


# Storage


class Folder:
    """A folder that every node sees at the same path."""

    def __init__(self, path):
        self.root = Path(path)

    def pictures(self):
        if not self.root.is_dir():
            raise UserError(f"read {self.root}: no such folder; name one with pictures")
        found = []

        def refuse(error):
            raise error

        # Links to folders are not followed: they may lead back here.
        for folder, _, names in os.walk(self.root, onerror=refuse):
            at = os.path.relpath(folder, self.root)
            found += [os.path.normpath(os.path.join(at, n)) for n in names if n.lower().endswith(SUFFIXES)]
        return sorted(found)

    def names(self):
        return sorted(p.name for p in self.root.iterdir()) if self.root.is_dir() else []

    def read(self, name):
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name, data):
        """Whole or not there."""
        try:
            self.write_once(name, data)
        except FileNotFoundError:
            self.write_once(name, data)  # another run came to its end, and tidied

    def write_once(self, name, data):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
        try:
            with naming(path), os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(partial, 0o644)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            raise

    def tidy(self):
        """Removes what killed writers left."""
        for partial in self.root.rglob("*.part"):
            partial.unlink(missing_ok=True)

    def fetch(self, names, into):
        """The pictures as `0`, `1`, ... in `into`; gives the reasons of those that are not there."""
        gone = {}
        for number, name in enumerate(names):
            path = self.root / name
            if os.path.lexists(path):
                (into / str(number)).symlink_to(path)
            else:
                gone[number] = "it is no longer there"
        if names and len(gone) == len(names):
            raise UserError(f"read {self.root / names[0]}: no picture of this slice is there; mount {self.root} on this node")
        return gone


class Bucket:
    """An object store, where what is put is whole or not there."""

    def __init__(self, url):
        try:
            import fsspec
            import s3fs  # noqa: F401: fsspec names it less plainly when it is missing
        except ImportError as error:
            raise UserError(f"read {url}: {error.name} is not installed here; pip install s3fs") from error
        # Others write there while a run goes on.
        self.store, self.root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self.root, self.url = self.root.rstrip("/"), url

    def pictures(self):
        with self.told():
            keys = self.store.find(self.root)
        return sorted(k[len(self.root) + 1 :] for k in keys if k.lower().endswith(SUFFIXES))

    def names(self):
        with self.told():
            try:
                return sorted(k.rsplit("/", 1)[1] for k in self.store.ls(self.root, detail=False) if "/" in k)
            except FileNotFoundError:
                return []

    def read(self, name):
        with self.told():
            try:
                return self.store.cat_file(f"{self.root}/{name}", **ONE_REQUEST)
            except FileNotFoundError:
                return None

    def write(self, name, data):
        with self.told():
            try:
                self.store.pipe_file(f"{self.root}/{name}", data)
            except FileNotFoundError as error:
                raise UserError(f"write {self.url}: there is no bucket {self.root.partition('/')[0]}; make it") from error

    def tidy(self):
        pass

    def fetch(self, names, into):
        gone = {}
        for start in range(0, len(names), AT_ONCE):
            # Not `cat`, to which a name with [, * or ? is a pattern.
            with ThreadPoolExecutor(AT_ONCE) as pool:
                contents = list(pool.map(self.read, names[start : start + AT_ONCE]))
            for number, data in enumerate(contents, start):
                if data is None:
                    gone[number] = "it is no longer there"
                else:
                    with naming(into):
                        (into / str(number)).write_bytes(data)
        return gone

    @contextlib.contextmanager
    def told(self):
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            # botocore's errors have no base of their own.
            if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in LIBRARIES:
                raise
            raise UserError(f"use {self.url}: {one_line(error)}; see AWS_ENDPOINT_URL and the credentials of this node") from error


@contextlib.contextmanager
def naming(path):
    """A disk that fills up while a file is written does not say which file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def open_store(url):
    scheme, is_url, _ = url.partition("://")
    if not is_url:
        return Folder(url)
    if scheme == "file":
        return Folder(url.removeprefix("file://"))
    if scheme == "s3":
        return Bucket(url)
    raise UserError(f"read {url}: {scheme}:// is not read; name a folder or s3://BUCKET/PREFIX")


def one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


# A slice


def shard_name(number):
    return f"labels/{number:08}.json"


def on_node(job, find_model, number, names, known):
    """A row about the slice; what went wrong stands in it, for the run to tell and to stop."""
    before = processor_s()
    try:
        row = relabel_slice(job, find_model(), number, names, known)
    except UserError as error:
        row = {"error": one_line(error)}
    except OSError as error:
        row = {"error": f"{error.filename or job.out}: {error.strerror or one_line(error)}", "errno": error.errno or 0}
    return {
        "number": number, "node": socket.gethostname(), "processor_s": processor_s() - before,
        "error": "", "errno": 0, "kept": False, "sha256": "", "pictures": 0, "annotations": 0, "unreadable": "[]", **row,
    }


def processor_s():
    """Of this process and of the programs that it waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def relabel_slice(job, model, number, names, known):
    """`known`: the hash that a manifest has of the shard, or nothing."""
    out = open_store(job.out)
    data = out.read(shard_name(number))
    document = matching(data, job, number, names)
    if document and known and hashlib.sha256(data).hexdigest() != known:
        document = None  # somebody changed it
    kept = document is not None
    if not kept:
        document = make(job, model, number, names)
        data = (json.dumps(document, separators=(",", ":")) + "\n").encode()
        out.write(shard_name(number), data)
    return {
        "kept": kept, "sha256": hashlib.sha256(data).hexdigest(), "pictures": len(document["images"]),
        "annotations": len(document["annotations"]), "unreadable": json.dumps(document["unreadable"]),
    }


def info(job, number, names):
    return {
        "description": "packages as magpie detect finds them",
        "model_sha256": job.model_sha256, "program_sha256": job.program_sha256, "score_min": job.score_min,
        "threads": job.threads, "slice": number, "pictures_sha256": hashlib.sha256(json.dumps(names).encode()).hexdigest(),
    }


def matching(data, job, number, names):
    """A shard that is there and of this job, else `None`."""
    try:
        document = json.loads(data or b"")
        is_ours = document["info"] == info(job, number, names)
        count = len(document["images"]) + len(document["unreadable"])
        return document if is_ours and count == len(names) and "annotations" in document else None
    except (ValueError, KeyError, TypeError):
        return None


def make(job, model, number, names):
    source = open_store(job.source)
    check_program(job)
    with staging() as folder:
        unreadable = {n: "its name is not UTF-8; rename it" for n, name in enumerate(names) if not is_utf8(name)}
        unreadable |= source.fetch(names, folder)
        found, unread = detect_all(job, model, folder, [n for n in range(len(names)) if n not in unreadable])
    unreadable |= unread
    return coco(job, number, names, found, unreadable)


def is_utf8(name):
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def check_program(job):
    try:
        found = hash_file(job.program)
    except OSError as error:
        raise UserError(f"run {job.program}: {error.strerror}; install the program on every node") from error
    if found != job.program_sha256:
        raise UserError(
            f"run {job.program}: it is not the program that this run began with ({found[:12]}, not "
            f"{job.program_sha256[:12]}); install the same one on every node"
        )


def hash_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scratch():
    """A folder of this user's on this node; what killed processes left in it is removed."""
    folder = Path(tempfile.gettempdir()) / f"magpie-relabel-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise UserError(f"use {folder}: it belongs to somebody else; remove it, or set TMPDIR")
    for old in folder.glob("slice-*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime < YOUNG_S:
                continue
            with open(old / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
    return folder


@contextlib.contextmanager
def staging():
    with tempfile.TemporaryDirectory(prefix="slice-", dir=scratch(), ignore_cleanup_errors=True) as folder:
        with open(Path(folder) / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # says that this process lives
            yield Path(folder)


def model_on_node(sha256, fetch):
    """The model as a file on this node; `fetch` brings its bytes."""
    path = scratch() / f"{sha256}.onnx"
    if not path.is_file() or hash_file(path) != sha256:
        data = fetch()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise UserError(f"use the model {sha256[:12]}: it was changed while the run began; {AGAIN}")
        Folder(scratch()).write(path.name, data)
    return str(path)


# The program


@dataclass
class Ended:
    code: int
    said: str  # the last line of its errors


def detect_all(job, model, folder, numbers):
    """Documents and reasons by the pictures' numbers.

    A picture on which the program dies twice is unreadable. A program that somebody kills is started again.
    """
    found, unread = {}, {}
    todo, deaths, kills = list(numbers), {}, 0
    while todo:
        some, reasons, ended = detect(job, model, folder, todo)
        found |= some
        unread |= reasons
        todo = [n for n in todo if n not in found and n not in unread]
        if ended.code < 0 and -ended.code not in CRASHES:
            kills += 1
            if kills == KILLED_MAX:
                raise UserError(f"run {job.program}: it was killed {kills} times ({cause(ended.code)}); is this node short of memory? {AGAIN}")
        elif ended.code < 0 or ended.code == PANIC:
            probe(job, model)  # it may die of every picture
            if not todo:
                break  # it died as it ended, and everything is there
            culprit = todo[0]
            deaths[culprit] = deaths.get(culprit, 0) + 1
            if deaths[culprit] == 2:
                unread[culprit] = f"magpie detect dies of it ({cause(ended.code)})"
                todo.remove(culprit)
        elif todo or ended.code not in (0, 1) or (ended.code == 1 and not reasons):
            raise UserError(f"run {job.program} detect: {ended.said or f'it ended with {ended.code}'}")
    return found, unread


def cause(code):
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def detect(job, model, folder, numbers):
    config = folder / "relabel.toml"
    config.write_text(f"[model]\nthreads = {job.threads}\n")
    command = [job.program, "detect", "--json", "--config", config.name]
    command += ["--model", model] if model else []
    command += ["--score-min", str(job.score_min)] if job.score_min is not None else []
    environment = {**os.environ, "RUST_LOG": "error", "RAYON_NUM_THREADS": str(job.threads)}
    done = subprocess.run(
        [*command, *map(str, numbers)], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True
    )
    found, reasons = {}, {}
    for line in done.stdout.splitlines():
        with contextlib.suppress(ValueError):  # cut short, as the program was
            document = json.loads(line)
            found[int(document["image"]["path"])] = document
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    for match in filter(None, map(UNREAD.match, lines)):
        reasons[int(match[1])] = match[2]
    return found, reasons, Ended(done.returncode, lines[-1].removeprefix("ERROR ") if lines else "")


def probe(job, model):
    """What the program says of a grey picture of 64x64: that it runs here, and by which model."""
    with staging() as folder:
        (folder / "0").write_bytes(GREY_PNG)
        found, _, ended = detect(job, model, folder, [0])
    if ended.code != 0 or not found:
        raise UserError(f"run {job.program} detect: {ended.said or 'it ended with ' + cause(ended.code)}")
    return found[0]


# Labels


def coco(job, number, names, found, unreadable):
    types = sorted({p["type"] for d in found.values() for p in d["packages"]} - set(CLASSES))
    categories = {name: n for n, name in enumerate((*CLASSES, *types), 1)}
    images, annotations = [], []
    for at in sorted(found):
        # Numbers are those of the whole list, so that shards can be laid together.
        image_id = number * job.slice_pictures + at + 1
        size = found[at]["image"]
        images.append({"id": image_id, "file_name": names[at], "width": size["width_px"], "height": size["height_px"]})
        packages = found[at]["packages"]
        if len(packages) >= PER_PICTURE:
            raise UserError(f"relabel {names[at]}: {len(packages)} packages, of at most {PER_PICTURE - 1}; give a higher --score-min")
        for nth, package in enumerate(packages, 1):
            x_min, y_min, x_max, y_max = package["bbox_px"]
            annotations.append({
                "id": image_id * PER_PICTURE + nth, "image_id": image_id, "category_id": categories[package["type"]],
                "bbox": [round(v, 2) for v in (x_min, y_min, x_max - x_min, y_max - y_min)],
                "area": sum(run_lengths(package["mask"]["counts"])[1::2]), "iscrowd": 0,
                "segmentation": package["mask"], "score": round(package["score"], 4), "mask_source": "model",
            })
    told = [{"file_name": shown(names[n]), "reason": unreadable[n], "shard": shard_name(number)} for n in sorted(unreadable)]
    return {
        "info": info(job, number, names), "images": images, "annotations": annotations,
        "categories": [{"id": n, "name": name} for name, n in categories.items()], "unreadable": told,
    }


def shown(name):
    return name.encode(errors="backslashreplace").decode()
