"""Picture files, as the deployed program reads them: JPEG, PNG, WebP, TIFF, BMP, PGM; whole.

As there, pictures follow their EXIF orientation, and 16 bits a channel are a picture of a camera
with as many bits as its largest value needs.
"""

import re
import struct

import cv2
import numpy as np
import simplejpeg

from . import UserError

WIDTH, HEIGHT, ORIENTATION = 256, 257, 0x0112  # tags of TIFF and EXIF
PIXELS_MAX = 1 << 26  # the program's bound
FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def decode(data):
    """A file's bytes as a BGR picture; a `UserError` says what is wrong with them."""
    kind = kind_of(data)
    if kind is None:
        raise UserError("is no JPEG, PNG, WebP, TIFF, BMP or PGM; save it again as one of them")
    # A decoder fills what is missing with grey.
    if kind == "jpeg" and not is_whole(data):
        raise UserError("is cut short; copy it again")
    width, height = size(data, kind) or (0, 0)
    if width * height > PIXELS_MAX:
        raise UserError(f"is too large to decode; scale it down from {width}x{height}")
    if kind == "jpeg" and is_damaged(data):
        raise UserError("is damaged; copy it again")
    turn = orientation(data)
    try:
        image = cv2.imdecode(np.frombuffer(upright(data, kind), np.uint8), FLAGS)
    except cv2.error as error:
        raise UserError("is too large to decode; scale it down") from error
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise UserError("does not decode; save it again as JPEG or PNG")
    if image.dtype == np.uint16:
        bits = max(8, int(image.max()).bit_length() + 1 & ~1)
        image = (image >> (bits - 8)).astype(np.uint8)
    return np.ascontiguousarray(turned(image, turn))


def kind_of(data):
    starts = {
        b"\xff\xd8\xff": "jpeg",
        b"\x89PNG\r\n\x1a\n": "png",
        b"II*\0": "tiff",
        b"MM\0*": "tiff",
        b"BM": "bmp",
        **dict.fromkeys((b"P2", b"P3", b"P5", b"P6"), "pnm"),
    }
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for start, kind in starts.items() if data.startswith(start)), None)


def is_whole(jpeg):
    """Whether the main picture, not a thumbnail inside a segment, has its end marker."""
    at = 2
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1 : at + 2] != b"\xda":
        fill = jpeg[at + 1 : at + 2] == b"\xff"  # any number of them may precede a marker
        at += 1 if fill else 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return jpeg.find(b"\xff\xd9", at) >= 0


def is_damaged(jpeg):
    """Whether a decoder meets codes that make no sense, or too few or too many of them."""
    try:
        simplejpeg.decode_jpeg(jpeg, "GRAY", min_factor=8, strict=True)
    except ValueError as error:
        if extra := re.search(r"(\d+) extraneous bytes before", str(error)):
            # Some encoders add zeros at the end.
            return b"\0" * int(extra[1]) + b"\xff\xd9" not in jpeg
        return bool(re.search(r"Corrupt|Premature", str(error)))
    return False


def size(data, kind):
    """Width and height as the header has them; `None` if it has none."""
    try:
        if kind == "png":
            return struct.unpack_from(">II", data, 16)
        if kind == "bmp":
            if data[14] == 12:
                return struct.unpack_from("<HH", data, 18)
            return tuple(abs(side) for side in struct.unpack_from("<ii", data, 18))
        if kind == "jpeg":
            return simplejpeg.decode_jpeg_header(data)[1::-1]
        if kind == "tiff":
            found = directory(data)
            return found[WIDTH][0], found[HEIGHT][0]
        if kind == "webp":
            return webp_size(data[12:16], data[20:30])
        lines = (line.partition(b"#")[0] for line in data[2:4096].splitlines())
        return tuple(int(word) for word in b" ".join(lines).split()[:2])
    except (struct.error, IndexError, KeyError, ValueError):
        return None


def shown_size(data):
    """Width and height as the picture is shown; `None` where its header does not tell."""
    kind = kind_of(data)
    found = size(data, kind) if kind else None
    if found is None:
        return None
    width, height = found
    return (height, width) if orientation(data) >= 5 else (width, height)


def webp_size(chunk, data):
    if chunk == b"VP8X":
        return (int.from_bytes(data[at : at + 3], "little") + 1 for at in (4, 7))
    if chunk == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return tuple(side & 0x3FFF for side in struct.unpack_from("<HH", data, 6))


def orientation(data):
    """EXIF's, from 1 to 8; 1 where the pixels lie as they are shown."""
    value, _ = directory(exif(data)).get(ORIENTATION, (1, 0))
    return value if 1 <= value <= 8 else 1


def exif(data):
    """The directory that says how to turn a picture, wherever its format keeps it."""
    kind = kind_of(data)
    if kind == "tiff":
        return data
    if kind == "png":
        found = next((part for name, part in chunks(data[8:], ">I4s", 4) if name == b"eXIf"), b"")
    elif kind == "webp":
        found = next((part for name, part in chunks(data[12:], "<4sI", 0) if name == b"EXIF"), b"")
    elif kind == "jpeg":
        start = data.find(b"Exif\0\0", 0, 65536)
        found = data[start:] if start >= 0 else b""
    else:
        found = b""
    return found.removeprefix(b"Exif\0\0")


def chunks(data, head, checksum):
    """Names and contents of the chunks of a PNG or of a WebP file."""
    at = 0
    while at + 8 <= len(data):
        name, length = sorted(struct.unpack_from(head, data, at), key=lambda part: isinstance(part, int))
        yield name, data[at + 8 : at + 8 + length]
        at += 8 + length + (checksum or length % 2)


def directory(data):
    """The entries of a TIFF structure that are one number: by tag the value and where it stands."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    found = {}
    if order is None:
        return found
    try:
        (table,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, table)
        for at in range(table + 2, table + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", data, at)
            if tag not in found and kind in (3, 4):
                (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)
                found[tag] = value, at + 8
    except struct.error:
        pass  # damaged: decoders ignore it too
    return found


def upright(data, kind):
    """A TIFF file whose decoder leaves its pixels where they lie: some turn them unasked."""
    if kind != "tiff" or ORIENTATION not in (found := directory(data)):
        return data
    _, at = found[ORIENTATION]
    number = bytes(1 if byte else 0 for byte in data[at : at + 4])
    return data[:at] + number + data[at + 4 :]


def turned(image, orientation):
    """First mirrored at the diagonal, then at an axis or at both (EXIF 2.3, 4.6.4)."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image
