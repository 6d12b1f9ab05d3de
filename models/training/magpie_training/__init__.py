"""Trains, exports and judges Magpie's package segmentation models.

Conventions: images are BGR `uint8` as OpenCV reads them, boxes are
`x_min, y_min, x_max, y_max` in pixels of the image at hand, and a pixel's centre lies
at half-integer coordinates.
"""

CLASSES = ("box", "padded_mailer", "poly_bag", "item")


class UserError(Exception):
    """A wrong input, told in one line that names the thing and the remedy."""
