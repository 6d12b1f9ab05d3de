import base64
import io
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from magpie_training import UserError
from magpie_training.grounds import make, view


def panorama():
    """Green above, red below the horizon; a blue mark straight ahead of a yaw of 90 degrees."""
    picture = np.full((180, 360, 3), 20, np.uint8)
    picture[:90, :, 1] = picture[90:, :, 2] = 200
    picture[85:95, 85:95] = (250, 20, 20)
    return picture


@pytest.fixture
def archives(tmp_path):
    """A wheel with a texture, and a package with a panorama as a module of JavaScript."""
    import OpenEXR

    _, png = cv2.imencode(".png", np.full((20, 30, 3), 90, np.uint8))
    with zipfile.ZipFile(tmp_path / "floors-1.0.whl", "w") as wheel:
        wheel.writestr("floors/tile.png", png.tobytes())
        wheel.writestr("floors/broken.png", b"no picture")
    light = np.float32(panorama()[..., ::-1]) / 255
    OpenEXR.File({}, {"RGB": light}).write(str(tmp_path / "room.exr"))
    text = base64.b64encode((tmp_path / "room.exr").read_bytes())
    module = b"export default 'data:image/exr;base64," + text + b"'"
    with tarfile.open(tmp_path / "rooms-2.0.tgz", "w:gz") as package:
        entry = tarfile.TarInfo("package/hall.exr.js")
        entry.size = len(module)
        package.addfile(entry, io.BytesIO(module))
    return [tmp_path / "floors-1.0.whl", tmp_path / "rooms-2.0.tgz"]


def test_a_view_looks_where_it_says():
    middle = (160, 160)
    assert view(panorama(), 90, 0)[middle].tolist() == [250, 20, 20]
    assert view(panorama(), 0, 45)[middle].tolist() == [20, 200, 20]
    assert view(panorama(), 0, -45)[middle].tolist() == [20, 20, 200]
    ahead = view(panorama(), 0, 0)
    assert ahead[40, 160, 1] == 200 and ahead[280, 160, 2] == 200


def test_listed_pictures_are_taken_from_archives(archives, tmp_path):
    (tmp_path / "list.txt").write_text(
        "# two\ntrain floors floors/tile.png\ntest rooms package/hall.exr.js\n"
    )
    counts = make(archives, tmp_path / "list.txt", tmp_path / "out")
    assert counts == {"train": 1, "test": 18}
    assert (tmp_path / "out/train/floors_tile_00.jpg").exists()
    down = cv2.imread(str(tmp_path / "out/test/rooms_hall_00.jpg"))
    _, green, red = down[300, 160].astype(int)
    assert red > green + 50


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train floors\n", "want `split archive file`"),
        ("train walls walls/a.png\n", "in walls, which was not given"),
        ("train floors floors/none.png\n", "no floors/none.png in floors"),
        ("train floors floors/broken.png\n", "broken.png: its contents do not decode"),
        ("train floors floors/tile.png\ntrain floors floors/tile.png\n", "two files of floors"),
        ("train rooms package/none.exr.js\n", "no package/none.exr.js in rooms"),
    ],
)
def test_wrong_lists_are_named(archives, tmp_path, text, expected):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=expected):
        make(archives, tmp_path / "list.txt", tmp_path / "out")


def test_what_is_no_archive_is_named(tmp_path):
    (tmp_path / "list.txt").write_text("train floors floors/tile.png\n")
    (tmp_path / "floors.whl").write_text("text")
    with pytest.raises(UserError, match="gone.whl: No such file"):
        make([tmp_path / "gone.whl"], tmp_path / "list.txt", tmp_path / "out")
    with pytest.raises(UserError, match="floors.whl: neither a wheel"):
        make([tmp_path / "floors.whl"], tmp_path / "list.txt", tmp_path / "out")


def test_a_full_disk_is_told(archives, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "list.txt").write_text("train floors floors/tile.png\n")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="floors_tile_00.jpg: No space left on device; make room"):
        make(archives, tmp_path / "list.txt", tmp_path / "out")
