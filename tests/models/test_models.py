"""Every Re-ID network: torchreid's contract, names and options."""

import pytest
import torch
from helpers.networks import CLASSES, active_model, every_model, images, settle
from torch import nn
from torchreid import models as torchreid_models

import reid_dcs
from reid_dcs.attention import ATTENTIONS, DCS
from reid_dcs.models import Backbone, build_backbone, register_backbone, registry
from reid_dcs.models.heads.pooling import GlobalAvgPool


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
def test_the_triplet_loss_can_see_what_is_before_the_neck_and_the_classifier_what_is_after(name):
    model = active_model(name).train()
    model.triplet_feature = "before_neck"
    x = images()
    torch.manual_seed(1)
    logits, features = model(x)
    torch.manual_seed(1)  # the same Gumbel noise
    pooled = model(x, return_featuremaps=True).mean((2, 3))
    embed = model.trunk.embed
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


def test_the_triplet_loss_compares_what_evaluation_compares():
    """The feature after the neck, here with the statistics of the batch, of unit length."""
    model = active_model("mobilenetv2_dcs").train()
    logits, features = model(images())
    model.triplet_feature = "before_neck"
    before = model(images())[1]
    expected = nn.functional.normalize(model.neck(before), dim=1)
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(logits, model.classifier(model.neck(before)))
    with pytest.raises(ValueError, match="triplet_feature must be one of"):
        model.triplet_feature = "before"
    assert model.triplet_feature == "before_neck"


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
    """Through a file, into a network with other weights and statistics."""
    saved, loaded = settle(active_model(name, seed=1)), active_model(name, seed=2).eval()
    torch.save(saved.state_dict(), tmp_path / "weights.pth")
    with torch.no_grad():
        expected = saved(images())
        assert not torch.allclose(loaded(images()), expected, rtol=1e-2)
        loaded.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
        assert torch.equal(loaded(images()), expected)


@every_model
def test_the_feature_of_an_image_does_not_depend_on_its_batch(name):
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


def error_message(name: str, *args, **options) -> str:
    with pytest.raises(reid_dcs.InputError) as caught:
        reid_dcs.build_model(name, CLASSES, *args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@every_model
def test_the_error_names_an_unknown_option_or_loss(name):
    message = error_message(name, no_such_option=3)
    assert name in message
    assert "no_such_option" in message
    assert "center" in error_message(name, loss="center")


def test_the_error_names_a_bad_value():
    assert "nearest" in error_message("mobilenetv2_dcs", mode="nearest")
    assert "mean" in error_message("mobilenetv2_dcs", union="mean")
    assert "windows" in error_message("mobilenetv2_dcs", windows=0)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("dcs_pos", {"windows": "two"}, "windows must be a whole number"),
        ("dcs_dim", {"windows": "two"}, "windows must be a whole number"),
        ("dcs", {"windows": None}, "windows must be a whole number"),
        ("dcs", {"mode": ["bilinear"]}, "mode must be one of"),
        ("dcs", {"bounds": ["clamp"]}, "bounds must be one of"),
        ("gsa", {"temperature": "hot"}, "temperature must be a number above 0"),
        ("dcs_mask", {"temperature": "hot"}, "temperature must be a number above 0"),
        ("dcs_mask", {"temperature": float("inf")}, "temperature must be a number above 0"),
        ("dcs_pos", {"kind": "sa"}, "unknown option 'kind'"),
        ("dcs_pos", {"function": 1}, "unknown option 'function'"),
    ],
)
def test_an_option_of_another_type_or_with_an_arguments_name_is_refused_in_plain_words(
    kind, options, message
):
    assert message in error_message(f"mobilenetv2_{kind}", **options)


def test_an_unknown_model_is_refused_with_the_closest_name():
    assert "mobilenetv2_dcs" in error_message("mobilenetv2_dsc")
    assert "zzz" in error_message("zzz")


def test_an_unknown_option_is_refused_with_the_closest_one():
    assert "did you mean windows?" in error_message("mobilenetv2_dcs", windos=1)
    assert "did you mean last_stride?" in error_message("resnet50_base", laststride=1)
    assert "known: last_stride" in error_message("resnet50_base", windows=1)


@pytest.mark.parametrize("options", [{"windos": 1}, {"loss": "center"}], ids=str)
def test_torchreids_builder_raises_the_same_errors(options):
    factory = vars(torchreid_models)["__model_factory"]
    with pytest.raises(reid_dcs.InputError) as caught:
        factory["mobilenetv2_dcs"](num_classes=CLASSES, **options)
    assert str(caught.value) == error_message("mobilenetv2_dcs", **options)


def test_torchreids_own_models_have_no_options_and_no_unreliable_weights():
    model = reid_dcs.build_model("osnet_x0_25", CLASSES, loss="triplet")
    logits, features = model.train()(images())
    assert logits.shape == (4, CLASSES)
    assert features.shape == (4, 512)
    assert "windows" in error_message("osnet_x0_25", windows=1)
    assert "pretrained" in error_message("osnet_x0_25", pretrained=True)


def test_a_taken_name_is_never_replaced():
    factory = vars(torchreid_models)["__model_factory"]
    before = dict(factory)

    def mobilenetv2(attention):
        return nn.Identity()

    with pytest.raises(ValueError, match="mobilenetv2_base"):
        register_backbone(mobilenetv2)
    assert factory == before


@pytest.fixture
def registry_restored():
    """Undo what a test registers."""
    tables = registry._BACKBONES, registry._MODELS, registry._TORCHREID_ZOO
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


class Tiny(Backbone):
    """A backbone of a user: one convolution a stage."""

    def __init__(self, attention, width):
        super().__init__()
        self.out_channels = width
        self.stage_channels, self.stage_strides = [width], [4]
        self.stage = nn.Conv2d(3, width, 3, stride=4, padding=1)
        self.attentions = nn.ModuleList([attention(width)])

    def forward_stages(self, x):
        return self.run_stages(x, [self.stage])


def test_a_registered_function_is_a_backbone_and_a_network_of_every_attention(registry_restored):
    @register_backbone
    def tiny(attention, *, width=8):
        return Tiny(attention, width)

    assert len(reid_dcs.list_models("tiny_*")) == 1 + len(ATTENTIONS)
    backbone = build_backbone("tiny", "dcs", width=6, windows=3)
    assert [m.shape for m in backbone.forward_stages(images())] == [(4, 6, 16, 8)]
    assert backbone.attentions[0].select.out_channels == 6
    for build in (reid_dcs.build_model, torchreid_models.build_model):
        assert build("tiny_sa", CLASSES, pretrained=False).eval()(images()).shape == (4, 8)


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
def test_the_gradient_of_the_pooling_has_the_memory_format_of_the_map(layout):
    maps = torch.randn(2, 8, 4, 3).to(memory_format=layout).requires_grad_()
    seen = []
    middle = maps * 1
    middle.register_hook(seen.append)
    pooled = GlobalAvgPool()(middle)
    torch.testing.assert_close(pooled, maps.mean((2, 3)))
    pooled.backward(torch.arange(16.0).view(2, 8))
    assert seen[0].is_contiguous(memory_format=layout)
    torch.testing.assert_close(seen[0][:, :, 1, 2], torch.arange(16.0).view(2, 8) / 12)
