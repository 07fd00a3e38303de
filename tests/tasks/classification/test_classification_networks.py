"""Classification networks: torchvision's weights with their classifier, strides, supergraphs."""

import pytest
import torch
from helpers.networks import images, randomize_norms
from torch import nn
from torchvision import models

import reid_dcs
from reid_dcs import InputError
from reid_dcs.models import ClassificationNetwork
from reid_dcs.search import build_supergraph, derive
from reid_dcs.tasks.classification import build_classifier

PUBLISHED = {"mobilenetv2": models.mobilenet_v2, "resnet50": models.resnet50}


@pytest.mark.parametrize(
    "backbone", ["mobilenetv2", pytest.param("resnet50", marks=pytest.mark.slow)]
)
def test_published_weights_load_with_their_classifier(backbone, tmp_path):
    torch.manual_seed(0)
    published = randomize_norms(PUBLISHED[backbone](num_classes=7)).eval()
    torch.save(published.state_dict(), tmp_path / "published.pth")
    name = f"{backbone}_dcs"  # its attention begins as the identity
    network = build_classifier(name, 7, pretrained=tmp_path / "published.pth").eval()
    batch = images(2, 96, 96)
    with torch.no_grad():
        found, expected = network(batch), published(batch)
    assert expected.std(0).mean() > 1e-3 * expected.abs().max()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_classifier_of_other_classes_stays_new(tmp_path):
    torch.manual_seed(0)
    published = models.mobilenet_v2(num_classes=7)
    torch.save(published.state_dict(), tmp_path / "published.pth")
    network = build_classifier("mobilenetv2_base", 5, pretrained=tmp_path / "published.pth")
    assert network.classifier.out_features == 5
    assert torch.equal(network.trunk.stem[0].weight, published.features[0][0].weight)


def test_the_stride_is_that_of_table_4_as_printed_and_can_be_chosen():
    network = build_classifier("mobilenetv2_base", 5)
    assert network.trunk.stage_strides == [4, 8, 16, 32]
    assert build_classifier("mobilenetv2_base", 5, last_stride=1).trunk.stage_strides[-1] == 16
    assert build_classifier("osnet_x1_0_base", 5)(images(2)).shape == (2, 5)  # it has one alone


def test_its_weights_are_named_as_those_of_a_reid_network():
    classifier, reid = (
        build_classifier("mobilenetv2_dcs", 5),
        reid_dcs.build_model("mobilenetv2_dcs", 5),
    )
    names = {name for name in reid.state_dict() if not name.startswith("neck.")}
    assert names | {"classifier.bias"} == set(classifier.state_dict())


def test_a_wrong_name_or_option_is_one_line():
    with pytest.raises(InputError, match="unknown model 'mobilenetv2_dsc': did you mean"):
        build_classifier("mobilenetv2_dsc", 5)
    with pytest.raises(InputError, match="unknown option 'window'"):
        build_classifier("mobilenetv2_dcs", 5, window=1)
    with pytest.raises(InputError, match="no official ImageNet weights"):
        build_classifier("fbnetv2_base", 5, pretrained=True)


def test_a_supergraph_of_classification_derives_its_plain_network():
    torch.manual_seed(0)
    supergraph = build_supergraph("fbnetv2_base", 3, task="classification").eval()
    derived = derive(supergraph)
    assert isinstance(derived, ClassificationNetwork) and not hasattr(derived, "neck")
    assert isinstance(derived.classifier, nn.Linear)
    batch = images(2)
    with torch.no_grad():
        found, expected = derived(batch), supergraph(batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
