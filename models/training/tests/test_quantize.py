import numpy as np
import onnx
import onnxruntime
import pytest

from magpie_training import UserError, deployed
from magpie_training.export import export
from magpie_training.quantize import quantize
from magpie_training.train import train


@pytest.fixture
def exported(recipe, tmp_path):
    checkpoint = train(recipe, tmp_path / "run", quiet=True)
    model = tmp_path / "m.onnx"
    export(checkpoint, model, size=(128, 128), version="1", training_data="tests", score_min=0.3)
    return model


def test_an_int8_model_is_smaller_and_answers_nearly_the_same(exported, dataset, tmp_path):
    small = tmp_path / "int8.onnx"
    quantize(exported, [str(dataset)], small, pictures=2, method="minmax")
    assert small.stat().st_size < 0.5 * exported.stat().st_size
    picture = deployed.test_picture(128, 128)
    sessions = [onnxruntime.InferenceSession(str(m)) for m in (exported, small)]
    exact, rough = (s.run(None, {"images": picture})[1] for s in sessions)
    assert np.corrcoef(exact.ravel(), rough.ravel())[0, 1] > 0.9
    floats = {i.name for i in onnx.load(str(small)).graph.initializer if i.data_type == 1}
    kept = ("backbone._conv_stem", "backbone._blocks.1._expand_conv", "heads.0.scores")
    assert all(f"net.{name}.weight" in floats for name in kept)
    assert "net.backbone._blocks.5._expand_conv.weight" not in floats
    properties = {p.key: p.value for p in onnx.load(str(small)).metadata_props}
    assert properties["magpie.version"] == "1+int8"
    assert properties["names"] == {p.key: p.value for p in onnx.load(str(exported)).metadata_props}["names"]


def test_too_few_pictures_to_calibrate_on_are_refused(exported, dataset, tmp_path):
    with pytest.raises(UserError, match="holds 2 pictures, 48 are needed"):
        quantize(exported, [str(dataset)], tmp_path / "q.onnx", pictures=48, method="minmax")
    assert not (tmp_path / "q.onnx").exists()


def test_what_cannot_be_calibrated_is_refused_before_it_is_tried(exported, dataset, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(UserError, match="load model .*text.onnx"):
        quantize(tmp_path / "text.onnx", [str(dataset)], tmp_path / "q.onnx", pictures=2, method="minmax")
    with pytest.raises(UserError, match="--pictures 1: 2 sets are calibrated on"):
        quantize(exported, [str(dataset)] * 2, tmp_path / "q.onnx", pictures=1, method="minmax")
