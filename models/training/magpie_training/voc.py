"""Pascal VOC's labels: an `.xml` for each picture.

Boxes are read as LabelImg, CVAT, Roboflow and Label Studio write them: edges in pixels, from 0.
Outlines are read where a `polygon` stands in an object (Roboflow, LabelMe's XML); VOC itself has none.
"""

import xml.etree.ElementTree as ElementTree

from . import UserError
from .label_formats import Picture, Shape, corners_of, drawn, named


def read_voc(path):
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError) as error:
        # Each file is of one picture: the others are whole.
        return [Picture("", None, path, wrong=f"no whole XML ({error}); export it again")]
    try:
        size = tuple(int(float(root.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    except ValueError:
        return [Picture("", None, path, wrong="its size is no width and height; export it again")]
    name = (root.findtext("filename") or "").strip()
    # Some tools write 0 for a size that they do not know.
    picture = Picture(name, size if all(size) else None, path, within=True)
    if not name:
        picture.wrong = "it has no filename; export it again"
    for number, element in enumerate(root.iter("object"), 1):
        if (element.findtext("deleted") or "0").strip() == "1":
            continue
        name = named((element.findtext("name") or "").strip())
        outline, bbox, wrong = drawn(object_outline, element)
        picture.shapes.append(Shape(name, outline, bbox, f"{path}, object {number} ({name!r})", wrong))
    return [picture]


def object_outline(element):
    polygon, box = element.find("polygon"), element.find("bndbox")
    points = polygon_points(polygon) if polygon is not None else []
    if len(points) >= 6:
        return [points], corners_of(points)
    if box is None:
        raise UserError("has neither a bndbox nor a polygon; draw it again")
    values = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = (box.findtext(key) or "").strip()
        try:
            values.append(float(text))
        except ValueError as error:
            raise UserError(f"its {key} is {text!r}, no number; draw it again") from error
    x0, y0, x1, y1 = values
    if not (x0 <= x1 and y0 <= y1):
        raise UserError(f"its box goes from {x0:g}, {y0:g} to {x1:g}, {y1:g}; draw it again")
    return None, (x0, y0, x1, y1)


def polygon_points(polygon):
    if polygon.find("pt") is not None:
        return [float(pt.findtext(axis)) for pt in polygon.iter("pt") for axis in "xy"]
    values = {child.tag: float(child.text) for child in polygon if child.tag[:1] in "xy" and child.tag[1:].isdecimal()}
    numbers = sorted({int(tag[1:]) for tag in values})
    return [values[f"{axis}{number}"] for number in numbers for axis in "xy"]


def document(name, width, height, objects):
    """A file's text; `objects`: names and boxes."""
    root = ElementTree.Element("annotation")

    def add(parent, tag, text=None):
        element = ElementTree.SubElement(parent, tag)
        element.text = text
        return element

    add(root, "folder", "JPEGImages")
    add(root, "filename", name)
    size = add(root, "size")
    for tag, value in (("width", width), ("height", height), ("depth", 3)):
        add(size, tag, str(value))
    add(root, "segmented", "0")
    for label, bbox in objects:
        element = add(root, "object")
        add(element, "name", label)
        for tag, text in (("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
            add(element, tag, text)
        box = add(element, "bndbox")
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), bbox):
            add(box, tag, f"{value:.9g}")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
