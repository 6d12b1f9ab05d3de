"""Picture files, as the deployed program reads them: JPEG and PNG, whole, 8 bits a channel.

As there, colour pictures follow their EXIF orientation.
"""

import struct

import cv2
import numpy as np

from . import UserError

ORIENTATION = 0x0112  # EXIF's tag


def decode(data):
    """A file's bytes as a BGR picture; a `UserError` says what is wrong with them."""
    jpeg = data.startswith(b"\xff\xd8\xff")
    if not jpeg and not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise UserError("is neither JPEG nor PNG; save it again as one of them")
    # The program refuses both: a decoder fills what is missing with grey, and cuts off low bits.
    if jpeg and not is_whole(data):
        raise UserError("is cut short; copy it again")
    if not jpeg and data[24:25] == b"\x10":
        raise UserError("has 16 bits a channel; save it again with 8")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise UserError("is too large to decode; scale it down") from error
    if image is None:
        raise UserError("does not decode; save it again as JPEG or PNG")
    return image


def is_whole(jpeg):
    """Whether the main picture, not a thumbnail inside a segment, has its end marker."""
    at = 2
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1 : at + 2] != b"\xda":
        fill = jpeg[at + 1 : at + 2] == b"\xff"  # any number of them may precede a marker
        at += 1 if fill else 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return jpeg.find(b"\xff\xd9", at) >= 0


def orientation(data):
    """EXIF's, from 1 to 8; 1 where the pixels lie as they are shown."""
    start = data.find(b"Exif\0\0", 0, 65536) + 6
    if start < 6:
        return 1
    order = "<" if data[start : start + 2] == b"II" else ">"
    try:
        (table,) = struct.unpack_from(order + "I", data, start + 4)
        (count,) = struct.unpack_from(order + "H", data, start + table)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", data, start + table + 2 + 12 * entry)
            if tag == ORIENTATION:
                return value
    except struct.error:
        pass  # damaged: decoders ignore it too
    return 1
