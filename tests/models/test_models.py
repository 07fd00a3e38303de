"""Every registered network, under torchreid's contract; names and options."""

import pytest
import torch
from helpers.networks import CLASSES, active_model, every_model, images, settle
from torch import nn
from torchreid import models as torchreid_models

import reid_dcs
from reid_dcs.attention import DCS
from reid_dcs.models import register_backbone
from reid_dcs.models.heads.reid import GlobalAvgPool


@every_model
@pytest.mark.parametrize("builder", ["ours", "torchreid"])
def test_torchreids_contract(name, builder):
    built = {}
    for loss in ("softmax", "triplet"):
        if builder == "ours":
            built[loss] = reid_dcs.build_model(name, CLASSES, loss=loss)
        else:
            built[loss] = torchreid_models.build_model(
                name, CLASSES, loss=loss, pretrained=False, use_gpu=False
            )
    x = images()
    dim = built["triplet"].feature_dim
    assert built["softmax"].train()(x).shape == (4, CLASSES)
    logits, features = built["triplet"].train()(x)
    assert (logits.shape, features.shape) == ((4, CLASSES), (4, dim))
    for model in built.values():
        assert model.eval()(x).shape == (4, dim)
        maps = model(x, return_featuremaps=True)
        assert maps.ndim == 4
        assert maps.shape[:2] == (4, dim)


@every_model
def test_triplet_sees_the_feature_before_the_neck_and_the_classifier_the_one_after(name):
    model = active_model(name).train()
    x = images()
    torch.manual_seed(1)
    logits, features = model(x)
    torch.manual_seed(1)  # the same draw of a Gumbel softmax
    pooled = model(x, return_featuremaps=True).mean((2, 3))
    embed = getattr(model.trunk, "embed", nn.Identity())
    torch.testing.assert_close(features, embed(pooled), rtol=1e-4, atol=1e-4)
    after = (features - features.mean(0)) / (features.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(logits, after @ model.classifier.weight.T, rtol=1e-3, atol=1e-4)
    model.eval()
    with torch.no_grad():
        model.neck.running_mean.fill_(0.5)
        model.neck.running_var.fill_(4)
        pooled = model(x, return_featuremaps=True).mean((2, 3))
        expected = (embed(pooled) - 0.5) / (4 + 1e-5) ** 0.5
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


@every_model
@pytest.mark.parametrize("loss", ["softmax", "triplet"])
def test_backward_reaches_every_parameter(name, loss):
    model = active_model(name, loss).train()
    output = model(images())
    generator = torch.Generator().manual_seed(1)
    for part in output if isinstance(output, tuple) else (output,):
        (part * torch.randn(part.shape, generator=generator)).sum().backward(retain_graph=True)
    trained = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, grad in trained.items() if grad is None or not grad.isfinite().all()] == []
    assert [n for n, grad in trained.items() if grad.count_nonzero() == 0] == []
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["neck.bias"]


@every_model
def test_state_dict_round_trip(name, tmp_path):
    """Through a file, into a network of another initialisation and other statistics."""
    donor, heir = settle(active_model(name, seed=1)), active_model(name, seed=2).eval()
    torch.save(donor.state_dict(), tmp_path / "weights.pth")
    with torch.no_grad():
        expected = donor(images())
        assert not torch.allclose(heir(images()), expected, rtol=1e-2)
        heir.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
        assert torch.equal(heir(images()), expected)


@every_model
def test_an_image_does_not_see_its_batch(name):
    model = settle(active_model(name)).double()  # an untrained network amplifies rounding
    x = images(3).double()
    with torch.no_grad():
        together = model(x)
        alone = torch.cat([model(image[None]) for image in x])
    scale = together.abs().max()
    torch.testing.assert_close(together / scale, alone / scale, rtol=0, atol=1e-9)
    assert ((together[0] - together[1]) / scale).abs().max() > 0.01


@every_model
@pytest.mark.parametrize(("height", "width"), [(100, 50), (97, 33), (32, 32)])
def test_odd_input_sizes(name, height, width):
    model = active_model(name).train()
    logits, features = model(images(2, height, width))
    assert logits.shape == (2, CLASSES)
    with torch.no_grad():
        assert model.eval()(images(1, height, width)).shape == (1, features.shape[1])


# --- names and options ---------------------------------------------------------------------------


def test_list_models_globs():
    names = reid_dcs.list_models()
    assert names == sorted(set(names))
    assert {"mobilenetv2_base", "mobilenetv2_dcs"} <= set(names)
    assert reid_dcs.list_models("*_dcs") == [n for n in names if n.endswith("_dcs")]
    assert reid_dcs.list_models("no such model") == []


def refusal(name: str, *args, **options) -> str:
    with pytest.raises(reid_dcs.InputError) as caught:
        reid_dcs.build_model(name, CLASSES, *args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@every_model
def test_unknown_options_and_losses_are_named(name):
    message = refusal(name, no_such_option=3)
    assert name in message
    assert "no_such_option" in message
    assert "centre" in refusal(name, loss="centre")


def test_bad_values_of_options_are_named():
    assert "nearest" in refusal("mobilenetv2_dcs", mode="nearest")
    assert "mean" in refusal("mobilenetv2_dcs", union="mean")
    assert "windows" in refusal("mobilenetv2_dcs", windows=0)


def test_an_unknown_model_is_refused_with_the_nearest_name():
    assert "mobilenetv2_dcs" in refusal("mobilenetv2_dsc")
    assert "zzz" in refusal("zzz")


def test_torchreids_own_models_build_but_take_no_options_and_no_silent_weights():
    model = reid_dcs.build_model("osnet_x0_25", CLASSES, loss="triplet")
    logits, features = model.train()(images())
    assert logits.shape == (4, CLASSES)
    assert features.shape == (4, 512)
    assert "windows" in refusal("osnet_x0_25", windows=1)
    assert "pretrained" in refusal("osnet_x0_25", pretrained=True)


def test_a_taken_name_is_never_replaced():
    factory = vars(torchreid_models)["__model_factory"]
    before = dict(factory)

    def mobilenetv2(attention):
        return nn.Identity()

    with pytest.raises(ValueError, match="mobilenetv2_base"):
        register_backbone(mobilenetv2)
    assert factory == before


def test_options_reach_every_attention_block():
    model = reid_dcs.build_model(
        "mobilenetv2_dcs", CLASSES, windows=3, mode="interp", union="sum", min_length=2.5
    )
    blocks = [m for m in model.modules() if isinstance(m, DCS)]
    assert len(blocks) == 4
    for block in blocks:
        assert (block.mode, block.union, block.min_length) == ("interp", "sum", 2.5)
        start, _ = block.windows(torch.zeros(1, block.channels, 2, 2))
        assert start.shape == (1, 4, 3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_poolings_gradient_comes_in_the_layout_of_the_map(layout):
    maps = torch.randn(2, 8, 4, 3).to(memory_format=layout).requires_grad_()
    seen = []
    middle = maps * 1
    middle.register_hook(seen.append)
    pooled = GlobalAvgPool()(middle)
    torch.testing.assert_close(pooled, maps.mean((2, 3)))
    pooled.backward(torch.arange(16.0).view(2, 8))
    assert seen[0].is_contiguous(memory_format=layout)
    torch.testing.assert_close(seen[0][:, :, 1, 2], torch.arange(16.0).view(2, 8) / 12)
