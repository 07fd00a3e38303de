"""Grad-CAM, compared with its definition."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.networks import over

import reid_dcs
from reid_dcs import InputError
from reid_dcs.visual.gradcam import draw_heat_maps, identity_maps, last_map, similarity_maps


def network(name="mobilenetv2_dcs"):
    torch.manual_seed(0)
    model = reid_dcs.build_model(name, 5).eval()
    torch.nn.init.normal_(model.classifier.weight)
    return model


def images(count=3):
    return torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def by_definition(model, layer, image, target):
    """``ReLU(sum_k a_k A_k)`` for one image, with a_k the mean gradient of the target."""
    recorded = {}

    def record(module, inputs, output):
        recorded["maps"] = output
        output.retain_grad()

    hook = model.get_submodule(layer).register_forward_hook(record)
    target(model(image[None])).backward()
    hook.remove()
    maps, gradients = recorded["maps"][0], recorded["maps"].grad[0]  # (D, h, w)
    heat = torch.zeros(maps.shape[1:])
    for k in range(len(maps)):
        heat += gradients[k].mean() * maps[k].detach()
    return heat.clamp(min=0).numpy()


@pytest.mark.parametrize("layer", ["", "trunk.stages.4", "trunk.attentions.2"])
@pytest.mark.parametrize("identity", [None, 3])
def test_identity_maps_follow_the_definition(layer, identity):
    model, batch = network(), images()
    heat, predicted = identity_maps(model, batch, identity, layer)
    assert heat.max() > 0 or identity  # a map is zero where no region supports the identity
    for i, image in enumerate(batch):
        logits = model.classifier(model(image[None]))[0]
        assert predicted[i] == logits.argmax()
        target = predicted[i] if identity is None else identity
        expected = by_definition(
            model, layer or "trunk", image, lambda f, k=target: model.classifier(f)[0, k]
        )
        np.testing.assert_allclose(heat[i], expected, atol=1e-5 * max(1.0, expected.max()))


def test_similarity_maps_follow_the_definition():
    model, batch = network(), images()
    other = model(images(4)[3:])[0].detach()
    heat, cosines = similarity_maps(model, batch, other)
    for i, image in enumerate(batch):
        feature = model(image[None])[0]
        assert cosines[i] == pytest.approx(F.cosine_similarity(feature, other, dim=0).item())
        expected = by_definition(
            model, "trunk", image, lambda f: F.cosine_similarity(f[0], other, dim=0)
        )
        np.testing.assert_allclose(heat[i], expected, atol=1e-6)


TORCHREID = ("osnet_x0_25", "mobilenetv2_x1_0", "resnet50")


@over([*reid_dcs.list_models("*_base"), *TORCHREID], lambda name: not name.startswith("convnext"))
def test_every_backbone_has_a_last_map(name):
    model = reid_dcs.build_model(name, 5).eval()
    batch = images(1)
    layer = last_map(model, batch)
    if hasattr(model, "featuremaps"):  # torchreid's
        maps = model.featuremaps(batch)
    else:
        maps = model(batch, return_featuremaps=True)
    outputs = []
    model.get_submodule(layer).register_forward_hook(lambda *call: outputs.append(call[2]))
    model(batch)
    assert torch.equal(outputs[0], maps)


def test_images_without_a_map_are_refused():
    with pytest.raises(InputError, match="larger images"):
        last_map(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), torch.zeros(1, 3, 3, 3))


@pytest.mark.parametrize(
    "layer, message",
    [
        ("trunk.stage.4", "no layer 'trunk.stage.4'; there are trunk.stages.4"),
        ("neck", "neck gives no map"),
        ("trunk.attentions.0.nothing", "no layer"),
    ],
)
def test_an_unknown_layer_is_refused(layer, message):
    with pytest.raises(InputError, match=message):
        identity_maps(network(), images(1), None, layer)


def test_hooks_are_removed_afterwards():
    model, batch = network(), images(1)
    before = model(batch)
    identity_maps(model, batch)
    assert torch.equal(model(batch), before)
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


def test_a_figure_has_one_row_per_image_and_one_column_per_network():
    pixels = np.full((40, 20, 3), 200, dtype=np.uint8)
    heat = np.zeros((4, 2))
    heat[0] = 3.0
    figure = draw_heat_maps([pixels] * 3, [[heat, 0 * heat]] * 3, ["one", "two"])
    grid = np.array(figure.axes).reshape(3, 3)
    assert [axes.get_title() for axes in grid[0]] == ["image", "one", "two"]
    shown = grid[2, 1].images[1].get_array()  # scaled to its maximum
    assert shown.max() == 1 and (shown[0] == 1).all() and (shown[1:] == 0).all()
    assert np.isfinite(np.asarray(grid[2, 2].images[1].get_array(), float)).all()
