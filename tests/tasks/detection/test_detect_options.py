"""Options of a training of a detector: frozen stages, layer-wise decay, initial weights."""

import pytest
import torch
from helpers.detection import small_detector
from helpers.detection_run import settings

import reid_dcs
from reid_dcs import InputError
from reid_dcs.config import compose
from reid_dcs.models.initial import InitialWeights
from reid_dcs.tasks.detection.initial import load_initial_detector
from reid_dcs.tasks.detection.job import DetectionJob
from reid_dcs.tasks.detection.settings import DetectTrainRun
from reid_dcs.tasks.detection.task import parameter_groups


def test_frozen_stages_and_their_statistics_do_not_change(root, tmp_path):
    config = compose(DetectTrainRun, settings(root, tmp_path, {"train": {"frozen_stages": 2}}))
    job = DetectionJob(config, torch.device("cpu"))
    job.load_data(None, None)
    network = job.build_network(config)
    trainer = job.build_trainer(config, network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    trainer.num_batches = 1
    trainer.forward_backward(next(iter(trainer.train_loader)))
    changed = {
        name for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    trunk = network.backbone.trunk
    frozen = {
        name
        for name, module in network.named_modules()
        for modules in trunk.stage_modules()[:2]
        if module in modules
    }
    assert frozen and not [n for n in changed if any(n.startswith(f"{f}.") for f in frozen)]
    assert any(name.startswith("backbone.trunk.stages.4.") for name in changed)
    assert any(name.startswith("backbone.trunk.attentions.1.") for name in changed)


def test_layer_wise_decay_slows_early_stages_and_norms_do_not_decay():
    detector = small_detector()
    groups = parameter_groups(detector, 1e-3, 0.05, layer_decay=0.5)
    of = {id(p): group for group in groups for p in group["params"]}
    assert len(of) == sum(1 for _ in detector.parameters())
    trunk = detector.backbone.trunk
    for i, modules in enumerate(trunk.stage_modules()):
        for module in modules:
            for parameter in module.parameters():
                group = of[id(parameter)]
                assert group["lr"] == pytest.approx(1e-3 * 0.5 ** (4 - i))
                assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0)
    for module in (trunk.attentions, detector.roi_heads, detector.rpn, detector.backbone.fpn):
        assert {of[id(p)]["lr"] for p in module.parameters()} == {1e-3}


def test_initial_weights_of_a_classifier_or_re_id_network_go_to_the_trunk():
    torch.manual_seed(5)
    model = reid_dcs.build_model("mobilenetv2_base", 7)
    detector = small_detector()
    line = load_initial_detector(detector, InitialWeights("F", model.state_dict(), None))
    assert "trunk of F" in line and "new attention" in line
    for name, value in model.trunk.state_dict().items():
        if not name.startswith("last."):
            assert torch.equal(detector.backbone.trunk.state_dict()[name], value)
    other = small_detector(num_classes=5, seed=1)
    line = load_initial_detector(other, InitialWeights("G", detector.state_dict(), None))
    assert "new class layers" in line
    torch.testing.assert_close(other.rpn.state_dict(), detector.rpn.state_dict())
    with pytest.raises(InputError):
        load_initial_detector(detector, InitialWeights("H", {"a": torch.zeros(1)}, None))
