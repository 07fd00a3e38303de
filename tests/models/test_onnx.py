"""Exported to ONNX, a network gives what it gives here, for any number of images."""

import pytest
import torch
from networks import active_model, assert_same_features, every_model_one_quick, images, settle
from torch.export import Dim


@every_model_one_quick
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_parity(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
    model, path = settle(active_model(name)), tmp_path / "model.onnx"
    batch = ({0: Dim("batch")},)
    torch.onnx.export(model, (images(2),), path, dynamo=True, dynamic_shapes=batch, verbose=False)
    session = onnxruntime.InferenceSession(path)
    (given,) = session.get_inputs()
    for count in (3, 5):
        (found,) = session.run(None, {given.name: images(count).numpy()})
        with torch.no_grad():
            assert_same_features(torch.from_numpy(found), model(images(count)), 1e-3)
