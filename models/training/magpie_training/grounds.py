"""Photographs of grounds and rooms without packages, out of the archives that others publish.

Textures are kept as they are; a panorama becomes views as a camera in its middle would take them.
"""

import base64
import io
import re
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

from . import UserError
from .data import write_encoded

VIEW_SIDE_PX, VIEW_HALF_WIDTH = 320, 0.84  # tan of half the angle of view, 40 degrees
VIEW_YAWS_DEG, VIEW_PITCHES_DEG = range(0, 360, 60), (-50, -22, 4)
# The brightness that this share of a panorama's pixels stay below is shown as a mid grey.
PANORAMA_MIDDLE_PERCENT, PANORAMA_WHITE = 60, 2.2


def read_list(path):
    """Lines of `split archive file`: how the archive's name begins, and a file inside it."""
    if not Path(path).is_file():
        raise UserError(f"read list {path}: no such file")
    lines = [line.split("#")[0].split() for line in Path(path).read_text().splitlines()]
    wrong = [line for line in lines if len(line) not in (0, 3)]
    if wrong:
        raise UserError(f"read list {path}: want `split archive file`, found {' '.join(wrong[0])!r}")
    return [tuple(line) for line in lines if line]


def open_archive(path):
    """A function from a file's name to its bytes, for wheels (ZIP) and npm's packages (TAR)."""
    try:
        if zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(path)
            return archive.read
        archive = tarfile.open(path)
        return lambda name: archive.extractfile(name).read()
    except OSError as error:
        raise UserError(f"open archive {path}: {error.strerror}") from error
    except tarfile.TarError as error:
        raise UserError(f"open archive {path}: neither a wheel nor a .tgz") from error


def make(archives, list_path, out):
    """Writes the listed pictures as JPEG, a folder for each split; returns their counts."""
    counts, written = {}, set()
    readers = {path: open_archive(path) for path in map(Path, archives)}
    for split, prefix, name in read_list(list_path):
        here = [read for path, read in readers.items() if path.name.startswith(prefix)]
        if not here:
            raise UserError(f"read list {list_path}: {name} is in {prefix}, which was not given")
        try:
            data = here[0](name)
        except KeyError as error:
            raise UserError(f"read list {list_path}: no {name} in {prefix}") from error
        folder = Path(out) / split
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{prefix}_{Path(name).name.split('.')[0]}"
        for number, picture in enumerate(pictures(name, data)):
            path = folder / f"{stem}_{number:02}.jpg"
            if path in written:
                raise UserError(f"read list {list_path}: two files of {prefix} are called {stem}")
            write_encoded(path, picture)
            written.add(path)
            counts[split] = counts.get(split, 0) + 1
    return counts


def pictures(name, data):
    if ".exr" not in Path(name).suffixes:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise UserError(f"read {name}: its contents do not decode")
        return [picture]
    if name.endswith(".js"):  # the picture is a string in a module
        data = base64.b64decode(re.search(rb"base64,([A-Za-z0-9+/=]+)", data).group(1))
    panorama = read_exr(data)
    return [view(panorama, yaw, pitch) for yaw in VIEW_YAWS_DEG for pitch in VIEW_PITCHES_DEG]


def read_exr(data):
    """A panorama `[h, w, 3]` `uint8` BGR from the linear light of an OpenEXR file."""
    try:
        import OpenEXR  # only this command needs it
    except ImportError as error:
        raise UserError("read panoramas: OpenEXR is missing; pip install '.[grounds]'") from error

    channels = OpenEXR.File(io.BytesIO(data)).channels()
    light = next(c.pixels for n, c in channels.items() if n.startswith("RGB"))[..., 2::-1]
    light = light.astype(np.float32)
    light /= max(PANORAMA_WHITE * np.percentile(light, PANORAMA_MIDDLE_PERCENT), 1e-6)
    shown = np.clip(light / (1 + light / 4), 0, 1) ** (1 / 2.2)
    return (shown * 255).astype(np.uint8)


def view(panorama, yaw_deg, pitch_deg):
    """What a camera in the middle of an equirectangular panorama sees."""
    height, width = panorama.shape[:2]
    line = np.linspace(-VIEW_HALF_WIDTH, VIEW_HALF_WIDTH, VIEW_SIDE_PX, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    pitch = np.deg2rad(pitch_deg)
    up = -y * np.cos(pitch) + np.sin(pitch)
    ahead = y * np.sin(pitch) + np.cos(pitch)
    longitude = np.arctan2(x, ahead) + np.deg2rad(yaw_deg)
    latitude = np.arctan2(up, np.hypot(x, ahead))
    columns = np.float32(longitude / (2 * np.pi) % 1.0 * width - 0.5)
    rows = np.float32((0.5 - latitude / np.pi) * height - 0.5)
    return cv2.remap(panorama, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
