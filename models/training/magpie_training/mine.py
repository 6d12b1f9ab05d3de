"""Which pictures without packages a model is wrong on: those are drawn more often."""

import json

from tqdm import tqdm

from . import UserError
from .data import read_image
from .decode import Model
from .evaluate import read_dataset

# A picture full of findings is drawn at most so often as one without.
WEIGHT_MAX = 6.0


def mine(model, annotations, out, score_min):
    """Copies a COCO file without labels to `out`, beside it, with a `weight` for each picture.

    The weight is 1 and as much more as the scores of what is found there add up to.
    """
    document = read_dataset(annotations)
    if document["annotations"]:
        raise UserError(f"mine {annotations}: it has labels; only pictures without packages can be mined")
    if out.parent.resolve() != annotations.parent.resolve():
        raise UserError(f"mine into {out}: want a file beside {annotations}, whose pictures it names")
    network = Model(model)
    found = []
    for image in tqdm(document["images"], desc="pictures"):
        scores = network(read_image(annotations.parent / image["file_name"]), score_min).scores
        found.append(len(scores))
        image["weight"] = round(min(1.0 + float(scores.sum()), WEIGHT_MAX), 3)
    out.write_text(json.dumps(document))
    return {"pictures": len(found), "found": sum(found), "with_findings": sum(n > 0 for n in found)}
