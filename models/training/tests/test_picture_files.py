import struct
import zlib

import cv2
import numpy as np
import pytest

from magpie_training import picture_files

QUARTER = 16
COLORS = np.array([[[30, 200, 10], [90, 200, 10], [150, 200, 10]], [[30, 110, 10], [90, 110, 10], [150, 110, 10]]])
PICTURE = COLORS.repeat(QUARTER, 0).repeat(QUARTER, 1).astype(np.uint8)


def exif(orientation):
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(orientation):
    height, width = PICTURE.shape[:2]
    rgb = PICTURE[..., ::-1].tobytes()
    numbers = (256, width), (257, height), (258, 8), (259, 1), (262, 2), (273, 134), (274, orientation)
    numbers += (277, 3), (278, height), (279, len(rgb))
    entries = b"".join(struct.pack("<HHII", tag, 4 if value > 9 else 3, 1, value) for tag, value in numbers)
    return b"II*\0" + struct.pack("<IH", 8, 10) + entries + bytes(4) + rgb


def files(orientation):
    jpeg, png, webp = (
        cv2.imencode(ending, PICTURE, settings)[1].tobytes()
        for ending, settings in (
            (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 100]),
            (".png", []),
            (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
        )
    )
    data = exif(orientation)
    app1 = b"\xff\xe1" + struct.pack(">H", 8 + len(data)) + b"Exif\0\0" + data
    height, width = PICTURE.shape[:2]
    canvas = struct.pack("<II", width - 1, height - 1)
    extended = b"VP8X" + struct.pack("<II", 10, 8) + canvas[:3] + canvas[4:7]
    riff = b"WEBP" + extended + webp[12:] + b"EXIF" + struct.pack("<I", len(data)) + data
    return {
        "jpeg": jpeg[:2] + app1 + jpeg[2:],
        "png": png[:33] + chunk(b"eXIf", data) + png[33:],
        "late png": png[:-12] + chunk(b"eXIf", data) + png[-12:],
        "webp": b"RIFF" + struct.pack("<I", len(riff)) + riff,
        "tiff": tiff(orientation),
    }


SEEN = {
    1: PICTURE,
    2: PICTURE[:, ::-1],
    3: PICTURE[::-1, ::-1],
    4: PICTURE[::-1],
    5: PICTURE.transpose(1, 0, 2),
    6: np.rot90(PICTURE, -1),
    7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(PICTURE),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_orientation_says_in_every_format(orientation):
    for name, data in files(orientation).items():
        found = picture_files.decode(data)
        assert found.shape == SEEN[orientation].shape, name
        off = np.abs(found.astype(int) - SEEN[orientation])
        # A JPEG's colours run at the edges.
        assert np.median(off) < 2 and (name == "jpeg" or not off.any()), name
        assert picture_files.orientation(data) == orientation, name


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 511, 65535], [0, 1, 255]),
        ([0, 511, 4095], [0, 31, 255]),
        ([0, 511, 1023], [0, 127, 255]),
        ([0, 51, 255], [0, 51, 255]),
    ],
)
def test_sixteen_bits_are_a_mono_cameras_picture_of_as_many_bits_as_it_uses(values, expected):
    for ending in (".png", ".tiff", ".pgm"):
        data = cv2.imencode(ending, np.array([values], np.uint16))[1].tobytes()
        assert picture_files.decode(data)[0, :, 0].tolist() == expected, ending


def test_eight_bits_are_as_opencv_reads_them():
    noise = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
    for ending in (".jpg", ".png", ".webp", ".tiff", ".bmp", ".ppm"):
        data = cv2.imencode(ending, noise)[1]
        expected = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert np.array_equal(picture_files.decode(data.tobytes()), expected), ending


def test_sizes_are_read_from_headers():
    assert picture_files.size(b"P5 # a comment\n# another\n 640\t480 255\n", "pnm") == (640, 480)
    for name, data in files(1).items():
        assert tuple(picture_files.size(data, picture_files.kind_of(data))) == (48, 32), name
