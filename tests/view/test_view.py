"""What `magpie view` draws in Rerun, read back by Rerun itself, without a window.

What it should draw is read by the `mcap` package, from the descriptors that the recording holds.
The program is the one that `cargo build --workspace --bin magpie` made, or MAGPIE_PROGRAM."""

import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from rerun.chunk import RrdReader

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
PROGRAM = os.environ.get("MAGPIE_PROGRAM", BUILT / "magpie")
# More than one chunk.
FRAMES = 8
# A busy machine takes its time.
LIMITS = "[limits]\nframe_age_ms_max = 5000\ndeadline_ms = 5000\nresult_valid_ms = 5000\n"
CELL = f"view-{os.getpid()}"
TYPES = ["background", "box", "padded_mailer", "poly_bag", "item"]


def magpie(*arguments):
    command = [PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def view(*arguments, python=sys.executable):
    return magpie("view", *arguments, "--python", python)


def refused(ended, code, *parts):
    assert ended.returncode == code, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if "ERROR" in line]
    assert len(errors) == 1, ended.stderr
    for part in parts:
        assert part in errors[0]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("view")


@pytest.fixture(scope="session")
def config(folder):
    path = folder / "magpie.toml"
    path.write_text(f'cell = "{CELL}"\n{LIMITS}')
    return path


@pytest.fixture(scope="session")
def recording(folder, config):
    """The first frames of the demo, with their results."""
    path = folder / "belt.mcap"
    ended = magpie("record", "--config", config, "--out", path, "--frames", FRAMES)
    assert ended.returncode == 0, ended.stderr
    return path


@pytest.fixture(scope="session")
def recorded(recording):
    """The messages of each topic of it, by their stamps."""
    topics = defaultdict(dict)
    with open(recording, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, message, decoded in reader.iter_decoded_messages():
            topics[channel.topic][message.log_time] = decoded
    return topics


@pytest.fixture(scope="session")
def shown(folder, recording):
    out = folder / "belt.rrd"
    ended = view(recording, "--out", out)
    assert ended.returncode == 0, ended.stderr
    return Shown(out)


class Shown:
    """A recording of Rerun's: what each entity has of a component, by the time of exposure."""

    def __init__(self, path):
        self.batches = defaultdict(list)
        for chunk in RrdReader(path).stream():
            self.batches[chunk.entity_path].append(chunk.to_record_batch())

    def components(self, entity):
        return {name for batch in self.batches[entity] for name in batch.schema.names if ":" in name}

    def at_exposure(self, entity, component):
        found = {}
        for batch in self.batches[entity]:
            if component in batch.schema.names:
                assert "log_time" not in batch.schema.names, "a frame has one time"
                stamps = batch.column("exposure").cast("int64").to_pylist()
                found.update(zip(stamps, batch.column(component).to_pylist()))
        return found

    def static(self, entity, component):
        (value,) = [b.column(component).to_pylist()[0] for b in self.batches[entity] if component in b.schema.names]
        return value

    def pixels(self, entity, archetype):
        buffers = self.at_exposure(entity, f"{archetype}:buffer")
        formats = self.at_exposure(entity, f"{archetype}:format")
        return {
            stamp: np.array(buffer[0], np.uint8).view("<u2").reshape(formats[stamp][0]["height"], -1)
            for stamp, buffer in buffers.items()
        }


def packages(recorded):
    assert len(recorded["/magpie/packages"]) == FRAMES
    return {stamp: message.packages for stamp, message in recorded["/magpie/packages"].items()}


def test_each_frame_has_the_packages_of_the_recording(shown, recorded):
    boxes = shown.at_exposure("/camera/packages", "Boxes2D:half_sizes")
    labels = shown.at_exposure("/camera/packages", "Boxes2D:labels")
    assert boxes.keys() == packages(recorded).keys()
    assert sum(map(len, boxes.values())) > 0
    for stamp, expected in packages(recorded).items():
        widths = [package.bbox.x_max_px - package.bbox.x_min_px for package in expected]
        assert [2 * half[0] for half in boxes[stamp]] == pytest.approx(widths, abs=1e-3)
        for label, package in zip(labels[stamp], expected):
            assert label.startswith(f"#{package.track_id} {package.type} {package.score:.0%}")
            assert (":" in label) == (not package.grasps), "who is not held is told why"


def test_grasps_are_poses_in_the_base(shown, recorded):
    positions = shown.at_exposure("/grasps", "InstancePoses3D:translations")
    turns = shown.at_exposure("/grasps", "InstancePoses3D:quaternions")
    assert sum(map(len, positions.values())) > 0
    for stamp, found in packages(recorded).items():
        poses = [package.grasps[0].pose for package in found if package.grasps]
        at = [[p.position_m.x, p.position_m.y, p.position_m.z] for p in poses]
        turned = [[p.orientation.x, p.orientation.y, p.orientation.z, p.orientation.w] for p in poses]
        assert np.array(positions[stamp]) == pytest.approx(np.array(at), abs=1e-6)
        assert np.array(turns[stamp]) == pytest.approx(np.array(turned), abs=1e-6)
        assert len(shown.at_exposure("/approaches", "Arrows3D:vectors")[stamp]) == len(poses)


def test_depth_is_the_measured_one_and_says_its_unit(shown, recorded):
    depth = shown.pixels("/camera/depth", "DepthImage")
    assert depth.keys() == recorded["/camera/depth"].keys()
    for stamp, image in recorded["/camera/depth"].items():
        millimetres = np.frombuffer(image.data, "<u2").reshape(image.height, image.width)
        assert (depth[stamp] == millimetres).all()
    units = shown.at_exposure("/camera/depth", "DepthImage:meter").values()
    assert all(unit == [1000.0] for unit in units)


def test_masks_are_of_the_type_of_their_package(shown, recorded):
    masks = shown.pixels("/camera/types", "SegmentationImage")
    context = shown.static("/", "AnnotationContext:context")[0]
    names = {entry["class_id"]: entry["class_description"]["info"]["label"] for entry in context}
    assert [names[number] for number in range(5)] == TYPES
    for stamp, found in packages(recorded).items():
        assert (masks[stamp] == 0).any()
        if found:
            # What is picked first lies on top.
            deepest = found[0].deepest_px
            assert names[masks[stamp][round(deepest.y_px), round(deepest.x_px)]] == found[0].type


def test_the_camera_is_where_it_was_calibrated_to_be(shown, recorded):
    (placed,) = recorded["/tf"].values()
    (lens,) = recorded["/camera/camera_info"].values()
    position, turn = placed.translation, placed.rotation
    expected = [position.x, position.y, position.z]
    assert shown.static("/camera", "Transform3D:translation")[0] == pytest.approx(expected)
    expected = [turn.x, turn.y, turn.z, turn.w]
    assert shown.static("/camera", "Transform3D:quaternion")[0] == pytest.approx(expected)
    columns = shown.static("/camera", "Pinhole:image_from_camera")[0]
    assert columns == pytest.approx([lens.K[0], 0, 0, 0, lens.K[4], 0, lens.K[2] + 0.5, lens.K[5] + 0.5, 1])


def test_pictures_and_the_surface_come_with_each_frame(shown, recorded):
    stamps = recorded["/camera/color"].keys()
    assert shown.at_exposure("/camera/picture", "EncodedImage:blob").keys() == stamps
    assert shown.at_exposure("/surface", "Points3D:positions").keys() == stamps


def test_it_opens_at_a_frame_and_tells_the_state_of_the_daemon(shown, recorded):
    told = shown.at_exposure("/status", "TextLog:text")
    assert told and all("status" in text[0] for text in told.values())
    assert min(told) >= min(recorded["/camera/color"])


def test_a_running_cell_is_shown_without_what_it_does_not_publish(folder, config):
    out = folder / "live.rrd"
    with open(folder / "run.log", "w") as log:
        daemon = subprocess.Popen([PROGRAM, "run", "--config", config], stderr=log)
    try:
        for _ in range(50):
            ended = view("--live", CELL, "--frames", 2, "--out", out, "--silence-s-max", 20)
            if ended.returncode == 0:
                break
            time.sleep(0.2)
    finally:
        daemon.terminate()
        daemon.wait(60)
    assert ended.returncode == 0, ended.stderr
    live = Shown(out)
    pictures = live.at_exposure("/camera/picture", "EncodedImage:blob")
    assert len(pictures) == 2
    assert live.at_exposure("/camera/packages", "Boxes2D:labels").keys() == pictures.keys()
    assert live.at_exposure("/grasps", "InstancePoses3D:translations").keys() == pictures.keys()
    assert not live.batches["/camera/depth"] and not live.batches["/camera"]


def test_a_recording_without_depth_is_shown_without(folder):
    simulated, settings, flat = folder / "simulated", folder / "flat.toml", folder / "flat.mcap"
    assert magpie("simulate", "--seed", 1, "--frames", 2, "--out", simulated).returncode == 0
    settings.write_text(f'cell = "{CELL}-flat"\n{LIMITS}[source.image_folder]\npath = "{simulated}/color"\n')
    ended = magpie("record", "--config", settings, "--out", flat, "--frames", 2)
    assert ended.returncode == 0, ended.stderr
    ended = view(flat, "--out", folder / "flat.rrd")
    assert ended.returncode == 0, ended.stderr
    assert "no calibration" in ended.stderr
    found = Shown(folder / "flat.rrd")
    assert len(found.at_exposure("/camera/picture", "EncodedImage:blob")) == 2
    assert not any(found.batches[name] for name in ("/camera/depth", "/surface", "/camera"))


def test_a_cut_recording_shows_what_is_whole(folder, recording):
    cut = folder / "cut.mcap"
    with open(recording, "rb") as file:
        chunks = make_reader(file).get_summary().chunk_indexes
        file.seek(0)
        cut.write_bytes(file.read(max(chunk.chunk_start_offset for chunk in chunks) + 100))
    ended = view(cut, "--out", folder / "cut.rrd")
    assert ended.returncode == 0, ended.stderr
    assert "was not finished" in ended.stderr
    assert Shown(folder / "cut.rrd").at_exposure("/camera/depth", "DepthImage:meter")


def test_what_is_no_recording_is_refused_and_no_file_is_written(folder):
    other, out = folder / "notes.mcap", folder / "no.rrd"
    other.write_text("not a recording")
    refused(view(other, "--out", out), 78, "notes.mcap")
    refused(view(folder / "missing.mcap", "--out", out), 78, "missing.mcap")
    assert not out.exists()


def test_a_cell_that_is_not_there_is_named():
    refused(view("--live", "nobody"), 1, "nobody")


def test_without_rerun_it_says_how_to_get_it(folder, recording):
    bare = script(folder / "bare", f'exec {sys.executable} -I -S "$@"')
    refused(view(recording, python=bare), 1, "pip install 'rerun-sdk>=0.41'")
    refused(view(recording, python=folder / "none"), 1, "install Python", "--python")


def test_nothing_is_imported_from_the_folder_that_one_is_in(folder, recording):
    here = folder / "here"
    here.mkdir()
    (here / "numpy.py").write_text("import os; os._exit(9)")
    (here / "json.py").write_text("import os; os._exit(9)")
    command = [PROGRAM, "view", recording, "--out", folder / "here.rrd", "--python", sys.executable]
    subprocess.run(command, cwd=here, check=True, timeout=120, capture_output=True)


def test_whoever_closes_the_window_has_seen_enough(folder, recording):
    """The window is a program of Python: this one is closed at once."""
    closed = script(folder / "closed", "exec 0<&-; exit 0")
    assert view(recording, python=closed).returncode == 0
    broken = script(folder / "broken", "echo no display >&2; exit 3")
    refused(view(recording, python=broken), 1, "no display")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
