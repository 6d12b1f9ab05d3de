"""A stand-in speaks as `magpie detect` does; the last test takes the program itself, where it is built."""

import contextlib
import errno
import io
import json
import logging
import os
import resource
import signal
import socketserver
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import magpie_training.relabel
from magpie_training import UserError, judge, relabel_slice
from magpie_training.__main__ import main
from magpie_training.labels import read_labels
from magpie_training.relabel import relabel
from magpie_training.relabel_slice import Folder, Job, hash_file, model_on_node, on_node, open_store, run_lengths

# A picture's contents say what is found in it, or what becomes of the program that reads it.
STAND_IN = """#!{python} -IS
import hashlib, json, os, signal, sys, time
words = sys.argv[1:]
model = words[words.index("--model") + 1] if "--model" in words else None
sha256 = hashlib.sha256(open(model, "rb").read()).hexdigest() if model else "universal"
failed = False
for name in words[words.index("relabel.toml") + 1:]:
    if not name.isdigit():
        continue
    text = open(name, "rb").read()
    time.sleep(float(os.environ.get("SLOW_S", "0")))
    if text == b"bad":
        print(f'ERROR read the image "{{name}}": it is no picture; save it as one', file=sys.stderr)
        failed = True
        continue
    if text == b"crash" or "CRASH" in os.environ:
        os.abort()
    if text.startswith(b"kill "):
        try:
            os.close(os.open(text[5:], os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)
        except FileExistsError:
            pass
    if text.startswith(b"orphan "):
        try:
            os.close(os.open(text[7:], os.O_CREAT | os.O_EXCL))
            os.kill(os.getppid(), signal.SIGKILL)
        except FileExistsError:
            pass
    if text == b"kill":
        os.kill(os.getpid(), signal.SIGKILL)
    # One package of 2x3 pixels in a picture of 4x5.
    package = {{"type": "sack" if text == b"sack" else "box", "score": 0.123456, "bbox_px": [1.0, 1.0, 3.0, 4.0],
               "mask": {{"size": [5, 4], "counts": {counts!r}}}}}
    packages = [] if text.startswith(b"\\x89PNG") else [package]
    print(json.dumps({{"image": {{"path": name, "width_px": 4, "height_px": 5}}, "packages": packages,
                      "model": {{"name": "x", "sha256": sha256}}, "inference_ms": time.time()}}), flush=True)
sys.exit(1 if failed else 0)
"""


@pytest.fixture(autouse=True)
def program(tmp_path, monkeypatch):
    mask = np.zeros((5, 4), np.uint8, order="F")
    mask[1:4, 1:3] = 1
    path = tmp_path / "magpie"
    path.write_text(STAND_IN.format(python=sys.executable, counts=coco_mask.encode(mask)["counts"].decode()))
    path.chmod(0o755)
    monkeypatch.setenv("MAGPIE", str(path))
    return path


def fill(folder, contents):
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    return folder


@pytest.fixture
def source(tmp_path):
    contents = {f"day-{n % 3}/{n}.jpg": b"box" for n in range(10)}
    return fill(tmp_path / "source", {**contents, "day-0/notes.txt": b"", "day-1/bad.PNG": b"bad", "z.tif": b"sack"})


def alone(source, out, **options):
    options = {"slice_pictures": 3, **options}
    return relabel(source, out, alone=True, **options)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def shards(out):
    return [json.loads(p.read_text()) for p in sorted((out / "labels").iterdir())]


def test_each_picture_is_labelled_once_and_those_that_cannot_be_read_are_told(source, tmp_path, capsys):
    out = tmp_path / "out"
    assert alone(source, out)
    images = [image for shard in shards(out) for image in shard["images"]]
    names = [f"day-{n % 3}/{n}.jpg" for n in range(10)] + ["z.tif"]
    assert [i["file_name"] for i in images] == sorted(names)
    annotations = [a for shard in shards(out) for a in shard["annotations"]]
    assert len({i["id"] for i in images}) == len({a["id"] for a in annotations}) == 11
    assert all(a["bbox"] == [1, 1, 2, 3] and a["area"] == 6 and a["score"] == 0.1235 for a in annotations)
    (entry,) = map(json.loads, (out / "unreadable.jsonl").read_text().splitlines())
    assert entry["file_name"] == "day-1/bad.PNG" and entry["reason"] == "it is no picture; save it as one"
    assert entry["file_name"] in json.dumps(json.loads((out / entry["shard"]).read_text())["unreadable"])
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["read"], manifest["packages"], manifest["unreadable"], len(manifest["shards"])) == (11, 11, 1, 4)
    assert all(shard["sha256"] == hash_file(out / shard["name"]) for shard in manifest["shards"])
    assert manifest["program_sha256"] == hash_file(os.environ["MAGPIE"])
    said = capsys.readouterr().out
    assert "1 of 12 pictures could not be read" in said and "processor core for each picture" in said


def test_what_is_written_is_read_as_labels(source, tmp_path):
    import cv2

    for path in source.rglob("*.jpg"):
        cv2.imwrite(str(path), np.zeros((5, 4, 3), np.uint8))
    (source / "day-1/bad.PNG").unlink()
    (source / "z.tif").unlink()
    alone(source, tmp_path / "out")
    found = read_labels(tmp_path / "out/labels", {}, images=source)
    assert len(found.pictures) == 10


def test_lengths_of_runs_are_those_of_coco():
    rng = np.random.default_rng(1)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = np.asfortranarray(rng.random((97, 211)) < share, np.uint8)
        lengths = run_lengths(coco_mask.encode(mask)["counts"].decode())
        assert sum(lengths) == mask.size and sum(lengths[1::2]) == mask.sum()
        ends = np.cumsum(lengths)
        flat = mask.ravel(order="F")
        assert all(flat[end - 1] == n % 2 for n, end in enumerate(ends) if lengths[n])


def test_what_is_there_is_kept_and_what_is_lost_or_damaged_is_made_anew(source, tmp_path, capsys):
    out = tmp_path / "out"
    alone(source, out)
    was = files(out)
    alone(source, out)
    assert files(out) == was and "4 shards, of which 4 were there" in capsys.readouterr().out
    (out / "labels/00000000.json").unlink()
    os.truncate(out / "labels/00000001.json", 100)
    changed = out / "labels/00000002.json"
    changed.write_text(changed.read_text().replace('"box"', '"bag"', 1))
    (out / "labels/00000003.json.killed.part").write_text("{")
    alone(source, out)
    assert files(out) == was and "4 shards, of which 1 were there" in capsys.readouterr().out
    # The same before the run has come to its end.
    (out / "manifest.json").unlink()
    other = json.loads((out / "labels/00000001.json").read_text())
    (out / "labels/00000000.json").write_text(json.dumps(other))
    alone(source, out)
    assert files(out) == was


def test_pictures_that_came_later_are_told_and_change_nothing(source, tmp_path, capsys):
    out = tmp_path / "out"
    alone(source, out)
    was = files(out)
    fill(source, {"a.jpg": b"box"})
    alone(source, out)
    assert files(out) == was and "1 pictures came to" in capsys.readouterr().out


def test_a_folder_of_something_else_is_refused_by_name(source, tmp_path, program):
    out, model = tmp_path / "out", tmp_path / "cell.onnx"
    alone(source, out)
    was = files(out)
    model.write_bytes(b"model")
    with pytest.raises(UserError, match="begun with another model sha256 .* use another --out"):
        alone(source, out, model=model)
    with pytest.raises(UserError, match="another slice pictures"):
        alone(source, out, slice_pictures=4)
    with pytest.raises(UserError, match="another score min"):
        alone(source, out, score_min=0.5)
    with pytest.raises(UserError, match="another source"):
        alone(fill(tmp_path / "other", {"a.jpg": b"box"}), out)
    program.write_text(program.read_text() + "# newer\n")
    with pytest.raises(UserError, match="another program sha256"):
        alone(source, out)
    assert files(out) == was
    with pytest.raises(UserError, match="holds something else .notes.txt.; use a new folder"):
        alone(source, fill(tmp_path / "strange", {"notes.txt": b""}))


def test_wrong_sources_are_told(tmp_path):
    for place, said in (
        (tmp_path / "gone", "no such folder"),
        (fill(tmp_path / "bare", {"notes.txt": b""}), "no picture .JPEG, PNG"),
        ("gs://bucket/pictures", "gs:// is not read; name a folder or s3://"),
    ):
        with pytest.raises(UserError, match=said):
            alone(place, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_where_no_picture_can_be_read_the_run_fails(tmp_path):
    source = fill(tmp_path / "source", {"a.jpg": b"bad", "b.jpg": b"bad"})
    assert main(["relabel", str(source), "--out", str(tmp_path / "out"), "--alone"]) == 1
    assert json.loads((tmp_path / "out/manifest.json").read_text())["unreadable"] == 2


def test_a_picture_that_kills_the_program_costs_no_other(tmp_path):
    contents = {f"{n}.jpg": b"box" for n in range(6)} | {"2.jpg": b"crash", "3.jpg": b"crash", os.fsdecode(b"\xff.jpg"): b"box"}
    out = tmp_path / "out"
    assert alone(fill(tmp_path / "source", contents), out, slice_pictures=7)
    (shard,) = shards(out)
    assert [i["file_name"] for i in shard["images"]] == ["0.jpg", "1.jpg", "4.jpg", "5.jpg"]
    reasons = {entry["file_name"]: entry["reason"] for entry in shard["unreadable"]}
    assert reasons == {
        "2.jpg": "magpie detect dies of it (SIGABRT)", "3.jpg": "magpie detect dies of it (SIGABRT)",
        "\\udcff.jpg": "its name is not UTF-8; rename it",
    }


def test_a_program_that_dies_of_everything_blames_no_picture(source, tmp_path, monkeypatch):
    alone(source, tmp_path / "out")
    (tmp_path / "out/labels/00000000.json").unlink()
    job = job_of(source, tmp_path / "out")
    monkeypatch.setenv("CRASH", "1")
    row = on_node(job, nothing, 0, Folder(source).pictures()[:3], "")
    assert "SIGABRT" in row["error"] and not (tmp_path / "out/labels/00000000.json").exists()


def test_a_program_that_is_killed_is_started_again_some_times(tmp_path):
    once = fill(tmp_path / "once", {"a.jpg": b"box", "b.jpg": f"kill {tmp_path}/killed".encode(), "c.jpg": b"box"})
    assert alone(once, tmp_path / "out")
    assert (tmp_path / "killed").exists() and json.loads((tmp_path / "out/manifest.json").read_text())["read"] == 3
    with pytest.raises(UserError, match="slice 0 .*killed 3 times .SIGKILL.; is this node short of memory"):
        alone(fill(tmp_path / "always", {"a.jpg": b"kill"}), tmp_path / "out2")
    assert not (tmp_path / "out2/labels").exists()


def test_pictures_that_vanish_are_told_and_a_folder_that_is_not_mounted_is_an_error(source, tmp_path):
    names = Folder(source).pictures()
    (source / names[1]).unlink()
    job = job_of(source, tmp_path / "out")
    row = on_node(job, nothing, 0, names[:3], "")
    (entry,) = json.loads(row["unreadable"])
    assert entry["file_name"] == names[1] and entry["reason"] == "it is no longer there" and row["pictures"] == 2
    elsewhere = replace(job, source=str(tmp_path / "unmounted"))
    row = on_node(elsewhere, nothing, 1, names[3:6], "")
    assert "mount" in row["error"] and not (tmp_path / "out/labels/00000001.json").exists()


def nothing():
    """No model but the program's own."""


def job_of(source, out):
    program = os.environ["MAGPIE"]
    return Job(str(source), str(out), program, hash_file(program), "universal", None, 1, 3)


def test_a_node_with_another_program_or_none_makes_nothing(source, tmp_path, program):
    job, names = job_of(source, tmp_path / "out"), Folder(source).pictures()
    row = on_node(replace(job, program_sha256="0" * 64), nothing, 0, names, "")
    assert "install the same one on every node" in row["error"]
    row = on_node(replace(job, program=str(tmp_path / "gone")), nothing, 0, names, "")
    assert "install the program on every node" in row["error"]
    assert not (tmp_path / "out").exists()


def test_a_model_reaches_a_node_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(relabel_slice.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "model").write_bytes(b"weights")
    sha256, asked = hash_file(tmp_path / "model"), []

    def fetch():
        asked.append(1)
        return b"weights"

    path = model_on_node(sha256, fetch)
    assert Path(path).read_bytes() == b"weights" and model_on_node(sha256, fetch) == path and len(asked) == 1
    Path(path).write_bytes(b"wei")
    assert Path(model_on_node(sha256, fetch)).read_bytes() == b"weights"
    with pytest.raises(UserError, match="changed while the run began"):
        model_on_node("0" * 64, fetch)


def test_what_killed_workers_left_on_a_node_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(relabel_slice.tempfile, "tempdir", str(tmp_path))
    left = fill(relabel_slice.scratch() / "slice-left", {"lock": b"", "0": b"picture"})
    with relabel_slice.staging() as alive:
        for folder in (left, alive):
            os.utime(folder, (0, 0))
        relabel_slice.scratch()
        assert alive.exists() and not left.exists()


def command(source, out, *more):
    words = [sys.executable, "-m", "magpie_training", "relabel", source, "--out", out, "--slice", "1", *more]
    root = str(Path(magpie_training.__file__).parents[1])
    return {"args": [str(w) for w in words], "env": {**os.environ, "PYTHONPATH": root}, "text": True}


def test_a_full_disk_stops_the_run_and_loses_nothing(source, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    alone(source, whole, slice_pictures=1)
    largest = max(len(data) for name, data in files(whole).items() if "labels" in name)
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, largest - 1))  # noqa: E731
    done = subprocess.run(**command(source, out, "--alone"), preexec_fn=limit, capture_output=True)
    assert done.returncode == 1, done.stderr
    assert f"{out}/labels/00000011.json: {os.strerror(errno.EFBIG)}; " in done.stderr and "make room, then the same command again" in done.stderr
    assert not list(out.rglob("*.part")) and not (out / "manifest.json").exists()
    alone(source, out, slice_pictures=1)
    assert files(out) == files(whole)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on(source, tmp_path, monkeypatch, by):
    whole, out = tmp_path / "whole", tmp_path / "out"
    alone(source, whole, slice_pictures=1)
    monkeypatch.setenv("SLOW_S", "0.2")
    run = subprocess.Popen(**command(source, out, "--alone"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    wait_for_shards(out, 3)
    run.send_signal(by)
    said = run.communicate()[1]
    assert run.returncode == 130 and "the same command goes on from here" in said
    made = len(list((out / "labels").glob("*.json")))
    assert 3 <= made < 12
    monkeypatch.setenv("SLOW_S", "0")
    alone(source, out, slice_pictures=1)
    assert files(out) == files(whole)


def wait_for_shards(out, count):
    for _ in range(6000):
        if len(list(out.glob("labels/*.json"))) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"never {count} shards in {out}")


# Object stores


@pytest.fixture
def bucket(monkeypatch):
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install '.[fleet]'")
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install '.[test]'")
    import s3fs

    store = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    for key, value in {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*store.get_host_and_port()), "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(key, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("fleet")
    yield s3fs.S3FileSystem()
    s3fs.S3FileSystem.clear_instance_cache()
    store.stop()


def test_an_object_store_gives_the_shards_that_folders_give(bucket, source, tmp_path, caplog):
    caplog.set_level(logging.INFO, "werkzeug")
    alone(source, tmp_path / "out")
    for path in source.rglob("*"):
        if path.is_file():
            bucket.pipe_file(f"fleet/pictures/{path.relative_to(source)}", path.read_bytes())
    caplog.clear()
    assert alone("s3://fleet/pictures", "s3://fleet/labels/out")
    asked = [r.getMessage().split('"')[1].split()[:2] for r in caplog.records if "/fleet/pictures/z.tif" in r.getMessage()]
    assert asked == [["GET", "/fleet/pictures/z.tif"]], "requests are paid for"
    ours = {name: data for name, data in files(tmp_path / "out").items() if name.startswith("labels/")}
    theirs = {name: bucket.cat_file(f"fleet/labels/out/{name}") for name in ours}
    assert theirs == ours
    bucket.pipe_file("fleet/labels/out/labels/00000001.json", b"{")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        alone("s3://fleet/pictures", "s3://fleet/labels/out")
    assert "4 shards, of which 3 were there" in said.getvalue()
    with pytest.raises(UserError, match="no picture"):
        alone("s3://fleet/nothing", "s3://fleet/labels/other")
    with pytest.raises(UserError, match="there is no bucket gone; make it"):
        alone("s3://fleet/pictures", "s3://gone/labels")


def test_an_object_store_that_is_not_there_is_told(monkeypatch, tmp_path):
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install '.[fleet]'")
    for key, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
                       "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(key, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match="use s3://fleet/pictures.*AWS_ENDPOINT_URL"):
        open_store("s3://fleet/pictures").pictures()


# Ray


def needs_ray():
    pytest.importorskip("ray.data", reason="Ray is not installed, so relabel is not tested on it: pip install '.[fleet]'")


def test_without_ray_it_says_what_to_do(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="Ray is not installed here; .*--alone"):
        relabel(source, tmp_path / "out")


def test_a_node_needs_nothing_of_this_project(source, tmp_path):
    needs_ray()
    from ray import cloudpickle

    names = Folder(source).pictures()[:3]
    cloudpickle.register_pickle_by_value(magpie_training)
    try:
        carried = cloudpickle.dumps((on_node, (job_of(source, tmp_path / "out"), lambda: None, 0, names, "")))
    finally:
        cloudpickle.unregister_pickle_by_value(magpie_training)
    script = (
        "import sys; sys.modules['magpie_training'] = None; from ray import cloudpickle;"
        "do, words = cloudpickle.loads(sys.stdin.buffer.read()); row = do(*words); print(row['error'], row['pictures'])"
    )
    done = subprocess.run([sys.executable, "-c", script], input=carried, capture_output=True, cwd=tmp_path)
    assert done.stdout.split() == [b"3"], done.stderr.decode()


def test_an_address_where_no_ray_is_is_told(source, tmp_path):
    needs_ray()
    for address, said in (("127.0.0.1:9", "no Ray is there"), ("fleet", "want HOST:PORT"), ("127.0.0.1:99999", "no Ray is there")):
        with pytest.raises(UserError, match=said):
            relabel(source, tmp_path / "out", ray=address)
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as deaf:
        threading.Thread(target=deaf.serve_forever, name="deaf", daemon=True).start()
        with pytest.raises(UserError, match="no Ray is there .something else answers"):
            relabel(source, tmp_path / "out", ray=f"127.0.0.1:{deaf.server_address[1]}")
        deaf.shutdown()


def test_a_node_that_is_killed_half_way_changes_no_byte(tmp_path, monkeypatch, capsys):
    needs_ray()
    from ray.cluster_utils import Cluster

    # One worker is killed, too: `orphan` kills who started the program, once.
    mark = tmp_path / "orphaned"
    mark.touch()
    special = {"05.jpg": b"bad", "17.jpg": b"crash", "09.jpg": f"orphan {mark}".encode()}
    contents = {f"{n:02}.jpg": b"box" for n in range(24)} | special
    source, whole, out = fill(tmp_path / "source", contents), tmp_path / "whole", tmp_path / "out"
    model = tmp_path / "model.onnx"
    model.write_bytes(b"weights")
    relabel(source, whole, alone=True, model=model, slice_pictures=2)
    mark.unlink()
    monkeypatch.setattr(magpie_training.relabel, "LOOK_S", 0.5)
    monkeypatch.setenv("SLOW_S", "0.5")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    nodes = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20}
    # The node of this command works on nothing, so that it is the others that are needed.
    cluster = Cluster(initialize_head=True, head_node_args={**nodes, "num_cpus": 0})
    ended = []
    try:
        doomed = cluster.add_node(**nodes)
        cluster.add_node(**nodes)
        cluster.wait_for_nodes()

        def kill_one():
            wait_for_shards(out, 3)
            cluster.remove_node(doomed, allow_graceful=False)
            ended.append(len(list(out.glob("labels/*.json"))))

        killer = threading.Thread(target=kill_one, name="killer")
        killer.start()
        assert relabel(source, out, ray=cluster.address, model=model, slice_pictures=2)
        killer.join()
        with pytest.raises(UserError, match="no node has 999 cores for one program, at most 1"):
            relabel(source, tmp_path / "many", ray=cluster.address, threads=999)
        killed = fill(tmp_path / "killed", {"a.jpg": b"kill"})
        assert main(["relabel", str(killed), "--out", str(tmp_path / "none"), "--ray", cluster.address]) == 1
    finally:
        cluster.shutdown()
    assert ended and ended[0] < 12, "it was killed after all was done"
    assert mark.exists(), "no worker was killed"
    said = capsys.readouterr()
    assert "nodes lost: 1; what they had in hand is done again by the other 2" in said.out
    assert "killed 3 times (SIGKILL)" in said.err and "give the same command again" in said.err
    assert files(out) == files(whole)
    images = [image["file_name"] for shard in shards(out) for image in shard["images"]]
    assert images == sorted(set(contents) - {"05.jpg", "17.jpg"})


def test_without_an_address_this_machine_is_the_cluster(source, tmp_path):
    needs_ray()
    alone(source, tmp_path / "whole")
    assert relabel(source, tmp_path / "out", slice_pictures=3)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


# The program itself


def test_the_program_finds_the_same_here_and_by_itself(tmp_path, monkeypatch):
    import cv2

    monkeypatch.delenv("MAGPIE")
    built = [os.environ.get("MAGPIE_PROGRAM"), judge.PROGRAM, judge.REPOSITORY / "target/debug/magpie"]
    program = next((Path(p) for p in built if p and os.access(p, os.X_OK)), None)
    if program is None:
        pytest.skip("no magpie program is built, so relabel is tested with a stand-in alone: cargo build")
    rng = np.random.default_rng(0)
    source = tmp_path / "source"
    source.mkdir()
    for n in range(3):
        picture = np.full((240, 320, 3), 90, np.uint8)
        picture[60:180, 80 + 20 * n : 240] = (60, 120, 180)
        cv2.imwrite(str(source / f"{n}.png"), cv2.add(picture, rng.integers(0, 12, picture.shape, np.uint8)))
    (source / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    assert alone(source, tmp_path / "out", magpie=str(program), score_min=0.05)
    config = tmp_path / "one.toml"
    config.write_text("[model]\nthreads = 1\n")
    words = [program, "detect", "--json", "--score-min", "0.05", "--config", config, source]
    lines = subprocess.run([str(w) for w in words], capture_output=True, text=True).stdout.splitlines()
    truth = {Path(d["image"]["path"]).name: d["packages"] for d in map(json.loads, lines)}
    found = {}
    for shard in shards(tmp_path / "out"):
        for image in shard["images"]:
            found[image["file_name"]] = [a for a in shard["annotations"] if a["image_id"] == image["id"]]
    assert found.keys() == truth.keys() == {"0.png", "1.png", "2.png"}
    for name, packages in truth.items():
        assert [a["segmentation"] for a in found[name]] == [p["mask"] for p in packages]
    (entry,) = map(json.loads, (tmp_path / "out/unreadable.jsonl").read_text().splitlines())
    assert entry["file_name"] == "cut.jpg" and "copy it again" in entry["reason"]
