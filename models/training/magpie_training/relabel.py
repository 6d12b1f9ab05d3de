"""Pictures of a fleet through `magpie detect`, by as many processors as there are: COCO labels in shards.

The sorted list of pictures is cut into slices, and each slice gives one shard. Which node makes a shard, and
how often, changes none of its bytes, where processors and ONNX Runtimes are of one kind. `--out` has:
- `pictures.jsonl.gz`, the list, and `settings.json`, what the folder belongs to: written first,
- `labels/NUMBER.json`, a shard: COCO, with the pictures that could not be read under `unreadable`,
- `unreadable.jsonl` and `manifest.json`: all shards, their hashes and counts, once all of them are there.
"""

import contextlib
import gzip
import hashlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from tqdm import tqdm

import magpie_training

from . import UserError
from .judge import find_program
from .relabel_slice import AGAIN, Job, hash_file, model_on_node, on_node, one_line, open_store, probe, shard_name

# Tasks of Ray's: the driver keeps an entry for each, so a large run puts several slices into one.
TASKS_MAX = 4000
CONNECT_S = 5
LOOK_S = 5


def relabel(source, out, *, ray=None, alone=False, model=None, score_min=None, magpie=None, slice_pictures=500, threads=1):
    """Returns whether any picture could be read; the labels lie in `out` then."""
    program = find_program(magpie)
    if program is None:
        raise UserError("run magpie: build it (cargo build --release -p magpie) or say --magpie PATH")
    source, out = absolute(source), absolute(out)
    model = model and str(Path(model).resolve())
    job = Job(source, out, str(program), hash_file(program), "", score_min, threads, slice_pictures)
    first = probe(job, model)
    job = Job(**{**vars(job), "model_sha256": first["model"]["sha256"]})
    pictures, settings = settle(job)
    slices = [pictures[at : at + slice_pictures] for at in range(0, len(pictures), slice_pictures)]
    known = known_hashes(open_store(out), settings)
    work = [(number, names, known.get(number, "")) for number, names in enumerate(slices)]
    print(f"{len(pictures)} pictures in {len(slices)} slices", flush=True)
    rows = in_this_process(job, model, work) if alone else on_ray(job, model, work, ray)
    return conclude(job, settings, len(pictures), collect(rows, len(slices), len(pictures), slice_pictures))


def absolute(place):
    """A folder's whole path, since the processes on other nodes stand elsewhere; a URL as it is."""
    return place if "://" in str(place) else os.path.abspath(place)


def settle(job):
    """The list of pictures that `out` was begun with, and what it belongs to."""
    out = open_store(job.out)
    found = open_store(job.source).pictures()
    if not found:
        raise UserError(f"relabel {job.source}: no picture (JPEG, PNG, WebP, TIFF, BMP, PGM) is there")
    belongs = {
        "source": job.source, "model_sha256": job.model_sha256, "program_sha256": job.program_sha256,
        "score_min": job.score_min, "threads": job.threads, "slice_pictures": job.slice_pictures,
    }
    known = read_json(out, "settings.json")
    if known is None:
        strange = [n for n in out.names() if not n.endswith(".part") and n != "pictures.jsonl.gz"]
        if strange:
            raise UserError(f"--out {job.out}: it holds something else ({strange[0]}); use a new folder")
        listed = "".join(json.dumps(name) + "\n" for name in found).encode()
        settings = {**belongs, "pictures": len(found), "pictures_sha256": hashlib.sha256(listed).hexdigest()}
        out.write("pictures.jsonl.gz", gzip.compress(listed, mtime=0))
        out.write("settings.json", dumped(settings))
        return found, settings
    other = next((key for key, value in belongs.items() if known.get(key) != value), None)
    if other:
        raise UserError(
            f"go on in {job.out}: it was begun with another {other.replace('_', ' ')} "
            f"({known.get(other)}, now {belongs[other]}); use another --out"
        )
    try:
        listed = gzip.decompress(out.read("pictures.jsonl.gz") or b"")
    except (OSError, EOFError):
        listed = b""
    if hashlib.sha256(listed).hexdigest() != known.get("pictures_sha256"):
        raise UserError(f"go on in {job.out}: its pictures.jsonl.gz is damaged; use another --out")
    pictures = [json.loads(line) for line in listed.splitlines()]
    if new := len(set(found).difference(pictures)):
        print(f"{new} pictures came to {job.source} since this was begun: they are left out; give them another --out")
    return pictures, known


def read_json(store, name):
    try:
        return json.loads(store.read(name) or b"null")
    except ValueError as error:
        raise UserError(f"read {name} in --out: it is damaged ({error}); use another --out") from error


def dumped(value):
    return (json.dumps(value, indent=1) + "\n").encode()


def known_hashes(out, settings):
    """Of a run that came to its end: what was changed since is made anew."""
    try:
        manifest = read_json(out, "manifest.json") or {}
    except UserError:
        return {}
    if any(manifest.get(key) != value for key, value in settings.items()):
        return {}
    return {number: shard["sha256"] for number, shard in enumerate(manifest["shards"])}


def collect(rows, slices, pictures, slice_pictures):
    """One row for each slice; the first that went wrong ends the run."""
    done = {}
    bar = tqdm(total=pictures, desc="pictures", unit="", disable=not sys.stderr.isatty())
    with contextlib.closing(rows), bar:
        for row in rows:
            if row["error"]:
                error = UserError(f"relabel slice {row['number']} on {row['node']}: {row['error']}")
                error.errno = row["errno"]  # a full disk has its own remedy
                raise error
            done[row["number"]] = row
            bar.update(min(slice_pictures, pictures - row["number"] * slice_pictures))
    missing = sorted(set(range(slices)) - set(done))
    if missing:
        raise UserError(f"relabel: slice {missing[0]} came back from no node; {AGAIN}")
    return [done[number] for number in range(slices)]


def conclude(job, settings, pictures, rows):
    out = open_store(job.out)
    unreadable = [entry for row in rows for entry in json.loads(row["unreadable"])]
    shards = [
        {"name": shard_name(row["number"]), "sha256": row["sha256"], "pictures": row["pictures"],
         "annotations": row["annotations"], "unreadable": len(json.loads(row["unreadable"]))}
        for row in rows
    ]
    read, packages = (sum(shard[key] for shard in shards) for key in ("pictures", "annotations"))
    out.write("unreadable.jsonl", "".join(json.dumps(entry) + "\n" for entry in unreadable).encode())
    out.write("manifest.json", dumped({**settings, "read": read, "packages": packages, "unreadable": len(unreadable), "shards": shards}))
    out.tidy()
    made = [row for row in rows if not row["kept"]]
    print(f"{job.out}: {read} pictures with {packages} packages in {len(rows)} shards, of which {len(rows) - len(made)} were there")
    if unreadable:
        first = unreadable[0]
        print(f"{len(unreadable)} of {pictures} pictures could not be read, see unreadable.jsonl; the first: {first['file_name']}: {first['reason']}")
    if count := sum(row["pictures"] for row in made):
        spent = sum(row["processor_s"] for row in made)
        print(f"{1e3 * spent / count:.1f} ms of one processor core for each picture")
    return read > 0


# Who does it


def in_this_process(job, model, work):
    with stopping():
        for number, names, known in work:
            yield on_node(job, lambda: model, number, names, known)


@contextlib.contextmanager
def stopping():
    """SIGTERM stops a run as Ctrl-C does; Ray's own handler would abort it."""

    def stop(*_):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def on_ray(job, model, work, address):
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError("relabel: Ray is not installed here; pip install '.[fleet]' in models/training, or say --alone") from error
    from ray import cloudpickle

    join(ray, address)
    try:
        cores = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
        if 0 < cores < job.threads:
            raise UserError(f"relabel on Ray: no node has {job.threads} cores for one program, at most {cores:.0f}; give fewer --threads")
        # Nodes need nothing of this project.
        cloudpickle.register_pickle_by_value(magpie_training)
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        kept = ray.put(Path(model).read_bytes()) if model else None
        sha256 = job.model_sha256

        def task(row):
            import ray

            def find_model():
                return model_on_node(sha256, lambda: ray.get(kept)) if kept else None

            return on_node(job, find_model, row["number"], json.loads(row["names"]), row["known"])

        # Names may hold what Arrow's strings cannot.
        items = [{"number": number, "names": json.dumps(names), "known": known} for number, names, known in work]
        tasks = ray.data.from_items(items, override_num_blocks=min(len(items), TASKS_MAX))
        with stopping(), watching(ray):
            # What a dead node had in hand is done again: Ray Data's tasks are tried until they end.
            yield from tasks.map(task, num_cpus=job.threads).iter_rows()
    except ray.exceptions.RayError as error:
        raise UserError(f"relabel on Ray: {str(error).strip().splitlines()[-1]}; {AGAIN}") from error
    finally:
        ray.shutdown()


def join(ray, address):
    """A cluster that is there, or one of this machine's processors for the time of this run."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init(address="local", include_dashboard=False, **quiet)
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--ray {address}: want HOST:PORT, as `ray start --head` prints it")
    try:
        reason = "" if speaks_grpc(host.strip("[]"), int(port)) else "something else answers"
    except (OSError, OverflowError) as error:
        reason = one_line(error)
    if reason:
        raise UserError(f"--ray {address}: no Ray is there ({reason}); `ray start --head` on the first node prints the address")
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, AssertionError) as error:
        raise UserError(f"--ray {address}: {one_line(error)}; give this command on a node of the cluster, with the same Ray and Python") from error


def speaks_grpc(host, port):
    """Asked first, since `ray.init` tries for minutes before it says that something is no Ray."""
    preface, settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0"
    with socket.create_connection((host, port), CONNECT_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") == "1":
            return True
        connection.sendall(preface + settings)
        return connection.recv(9, socket.MSG_WAITALL)[3:4] == settings[3:4]


@contextlib.contextmanager
def watching(ray):
    """Tells when nodes are lost, and when nothing is left to work on."""
    ended = threading.Event()

    def look():
        before = None
        while not ended.wait(LOOK_S):
            with contextlib.suppress(Exception):  # the run itself tells what is wrong with the cluster
                now = sum(node["Alive"] for node in ray.nodes())
                if before is not None and now < before:
                    print(f"nodes lost: {before - now}; what they had in hand is done again by the other {now}", flush=True)
                if now != before and not ray.cluster_resources().get("CPU"):
                    print("no node has a processor; waiting for one to join", flush=True)
                before = now

    thread = threading.Thread(target=look, name="watching", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
