import re
from pathlib import Path

import numpy as np
import pytest

from magpie_training import UserError
from magpie_training.__main__ import MOBILE_SAM
from magpie_training.mobile_sam import SHA256, MobileSam

REPOSITORY = Path(__file__).parents[3]


def test_what_is_not_there_and_what_is_another_file_say_how_to_install_it(tmp_path):
    with pytest.raises(UserError, match="no such file; install it: scripts/install --refine"):
        MobileSam(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"another file")
    with pytest.raises(UserError, match="not the file that was pinned"):
        MobileSam(tmp_path)


def test_the_program_runs_the_same_files():
    source = (REPOSITORY / "crates" / "inference" / "src" / "mobile_sam.rs").read_text()
    assert dict(re.findall(r'name: "([^"]+)",\s+bytes: [\d_]+,\s+sha256: "([0-9a-f]{64})"', source)) == SHA256


@pytest.mark.skipif(not (MOBILE_SAM / "sam.onnx").is_file(), reason="scripts/install --refine fetches MobileSAM")
def test_boxes_and_clicks_outline_what_they_point_at():
    picture = np.full((240, 320, 3), 70, np.uint8)
    picture[60:180, 100:220] = (60, 140, 200)
    true = np.zeros(picture.shape[:2], bool)
    true[60:180, 100:220] = True
    sam = MobileSam(MOBILE_SAM)
    encoded = sam.encode(picture)
    for prompt in ({"box": (96, 57, 224, 184)}, {"points": [(160, 120, True), (20, 20, False)]}):
        mask = sam.outline(encoded, **prompt)
        assert mask.shape == true.shape
        assert np.count_nonzero(mask & true) / np.count_nonzero(mask | true) > 0.9, prompt
