"""The cascade against torchvision's heads with the same weights, and against loops over boxes."""

import pytest
import torch
from helpers.detection import activate, random_images, small_detector, target
from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads

from reid_dcs.tasks.detection.network.cascade import STAGES, Cascade
from reid_dcs.tasks.detection.network.stage import CascadeStage

CHANNELS, HIDDEN, CLASSES = 8, 12, 3
SHAPES = [(64, 96), (80, 64)]


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    sides = [(24, 24), (12, 12), (6, 6), (3, 3)]  # of images padded to 96x96
    return {
        str(i): torch.randn(2, CHANNELS, *side, generator=generator) for i, side in enumerate(sides)
    }


@pytest.fixture
def targets():
    return [
        target(64, 96, (1, 4, 6, 40, 50), (3, 50, 10, 90, 60)),
        target(80, 64, (2, 10, 20, 50, 70)),
    ]


def boxes_of(shape, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    height, width = shape
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([width / 2, height / 2])
    side = 6 + torch.rand(count, 2, generator=generator) * torch.tensor([width / 2, height / 2])
    return torch.cat([corner, (corner + side).clamp(max=min(shape))], dim=1)


def proposals_near(targets, count=20):
    """Boxes around the objects, so that some are objects at every threshold."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for each, shape in zip(targets, SHAPES, strict=True):
        noise = 4 * torch.randn(count, 4, generator=generator)
        near = each["boxes"].repeat(count, 1)[:count] + noise
        found.append(torch.cat([near, boxes_of(shape, count)]))
    return found


def stage_with(settings=STAGES[0]) -> CascadeStage:
    torch.manual_seed(0)
    weights = settings.coder_weights
    stage = CascadeStage(CHANNELS, CLASSES, settings.iou, weights, HIDDEN, samples=16)
    return activate(stage)


def torchvisions(stage: CascadeStage, **thresholds) -> RoIHeads:
    """torchvision's heads with the weights of a stage; those of the background are noise."""
    heads = RoIHeads(
        stage.box_roi_pool,
        stage.box_head,
        FastRCNNPredictor(HIDDEN, 1 + CLASSES),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=16,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        **{"score_thresh": 0.05, "nms_thresh": 0.5, "detections_per_img": 100} | thresholds,
        mask_roi_pool=stage.mask_roi_pool,
        mask_head=stage.mask_head,
        mask_predictor=MaskRCNNPredictor(CHANNELS, CHANNELS, 1 + CLASSES),
    )
    with torch.no_grad():
        theirs, ours = heads.box_predictor, stage.box_predictor
        theirs.cls_score.load_state_dict(ours.cls_score.state_dict())
        theirs.bbox_pred.weight[4:], theirs.bbox_pred.bias[4:] = (
            ours.bbox_pred.weight,
            ours.bbox_pred.bias,
        )
        theirs, ours = heads.mask_predictor, stage.mask_predictor
        theirs.conv5_mask.load_state_dict(ours.conv5_mask.state_dict())
        theirs.mask_fcn_logits.weight[1:] = ours.mask_fcn_logits.weight
        theirs.mask_fcn_logits.bias[1:] = ours.mask_fcn_logits.bias
    return heads


def test_detections_of_one_stage_are_torchvisions(features):
    stage = stage_with().eval()
    cascade = Cascade(CHANNELS, CLASSES, HIDDEN).eval()
    cascade.stages = nn.ModuleList([stage])
    proposals = [boxes_of(shape, 30, seed) for seed, shape in enumerate(SHAPES)]
    with torch.no_grad():
        found, losses = cascade(features, proposals, SHAPES)
        expected, _ = torchvisions(stage).eval()(features, proposals, SHAPES)
    assert losses == {}
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert len(ours["boxes"]) > 5
        assert ours["labels"].unique().tolist() == [1, 2, 3]
        for key, value in theirs.items():
            torch.testing.assert_close(ours[key], value, rtol=1e-5, atol=1e-5)


def test_losses_of_one_stage_are_torchvisions(features, targets):
    stage = stage_with().train()
    reference, proposals = torchvisions(stage).train(), proposals_near(targets)
    torch.manual_seed(3)
    ours, _ = stage.losses(features, proposals, SHAPES, targets)
    torch.manual_seed(3)  # the same sample of boxes
    _, theirs = reference(features, list(proposals), SHAPES, targets)
    for name in ("loss_classifier", "loss_mask"):
        assert theirs[name] > 0.1
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5)


def giou(a, b):
    """Generalized IoU of two boxes (Rezatofighi et al., 2019), from its definition."""
    area_a, area_b = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = area_a + area_b - width * height
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return width * height / union - (hull - union) / hull


def decode(code, box, weights):
    """Box coder of R-CNN, one box."""
    width, height = box[2] - box[0], box[3] - box[1]
    x = box[0] + width / 2 + code[0] / weights[0] * width
    y = box[1] + height / 2 + code[1] / weights[1] * height
    half = [
        torch.exp(code[2] / weights[2]) * width / 2,
        torch.exp(code[3] / weights[3]) * height / 2,
    ]
    return torch.stack([x - half[0], y - half[1], x + half[0], y + half[1]])


@pytest.mark.parametrize("settings", STAGES, ids=lambda settings: str(settings.iou))
def test_the_box_loss_is_the_giou_of_decoded_boxes_by_a_loop(features, targets, settings):
    stage = stage_with(settings).train()
    proposals = proposals_near(targets)
    torch.manual_seed(3)
    loss = stage.losses(features, proposals, SHAPES, targets)[0]["loss_box_reg"]
    torch.manual_seed(3)
    boxes, matched, labels, _ = stage.select_training_samples(list(proposals), targets)
    with torch.no_grad():
        regions = stage.box_head(stage.box_roi_pool(features, boxes, SHAPES))
        codes = stage.box_predictor(regions)[1]
    total, count, row = 0.0, 0, 0
    for image in range(2):
        for box, index, label in zip(boxes[image], matched[image], labels[image], strict=True):
            if label > 0:
                code = codes[row, 4 * (label - 1) : 4 * label]
                refined = decode(code, box, settings.coder_weights)
                total += 1 - giou(refined.tolist(), targets[image]["boxes"][index].tolist())
                count += 1
            row += 1
    assert count >= 2
    torch.testing.assert_close(loss.item(), 10 * total / row, rtol=1e-4, atol=1e-5)


def test_refined_boxes_and_averaged_scores_by_a_loop(features):
    torch.manual_seed(0)
    cascade = activate(Cascade(CHANNELS, CLASSES, HIDDEN)).eval()
    cascade.score_threshold, cascade.nms_threshold = 0.0, 1.0  # every box of every class
    cascade.max_detections = 10_000
    proposals = [boxes_of(shape, 6, seed) for seed, shape in enumerate(SHAPES)]
    with torch.no_grad():
        found = cascade(features, proposals, SHAPES)[0]
        for image, (height, width) in enumerate(SHAPES):
            expected = []
            for box in proposals[image]:
                scores = torch.zeros(1 + CLASSES)
                for stage, settings in zip(cascade.stages, STAGES, strict=True):
                    pooled = pool_one(stage.box_roi_pool, features, box, image)
                    logits, codes = stage.box_predictor(stage.box_head(pooled))
                    scores += logits[0].softmax(0) / 3
                    refined = [
                        decode(codes[0, 4 * k : 4 * k + 4], box, settings.coder_weights)
                        for k in range(CLASSES)
                    ]
                    limit = torch.tensor([width, height, width, height]).float()
                    refined = [each.clamp(min=0).minimum(limit) for each in refined]
                    box = refined[logits[0, 1:].argmax()]
                expected += [(scores[1 + k], 1 + k, refined[k]) for k in range(CLASSES)]
            expected.sort(key=lambda each: -each[0].item())
            assert len(found[image]["boxes"]) == len(expected) == 18
            torch.testing.assert_close(
                found[image]["scores"],
                torch.stack([s for s, _, _ in expected]),
                rtol=1e-4,
                atol=1e-5,
            )
            assert found[image]["labels"].tolist() == [label for _, label, _ in expected]
            torch.testing.assert_close(
                found[image]["boxes"], torch.stack([b for *_, b in expected]), rtol=1e-4, atol=1e-3
            )


def pool_one(pool, features, box, image):
    """RoIAlign of one box of one of the two images."""
    boxes = [torch.zeros(0, 4), torch.zeros(0, 4)]
    boxes[image] = box[None]
    return pool(features, boxes, SHAPES)


def test_masks_are_the_means_of_three_heads_that_share_nothing(features):
    torch.manual_seed(0)
    cascade = activate(Cascade(CHANNELS, CLASSES, HIDDEN)).eval()
    parameters = [{id(p) for p in stage.parameters()} for stage in cascade.stages]
    assert not parameters[0] & parameters[1] | parameters[1] & parameters[2]
    proposals = [boxes_of(shape, 6, seed) for seed, shape in enumerate(SHAPES)]
    with torch.no_grad():
        found = cascade(features, proposals, SHAPES)[0]
        boxes, labels = [each["boxes"] for each in found], [each["labels"] for each in found]
        logits = [
            s.mask_predictor(s.mask_head(s.mask_roi_pool(features, boxes, SHAPES)))
            for s in cascade.stages
        ]
    row = 0
    for each in found:
        for mask, label in zip(each["masks"], each["labels"], strict=True):
            mean = sum(head[row, label - 1].sigmoid() for head in logits) / 3
            torch.testing.assert_close(mask[0], mean, rtol=1e-5, atol=1e-6)
            row += 1
    assert row == sum(map(len, labels)) > 5


def test_a_stage_trains_on_what_the_one_before_refined_and_losses_are_weighted(features, targets):
    torch.manual_seed(0)
    cascade = activate(Cascade(CHANNELS, CLASSES, HIDDEN, samples=16)).train()
    proposals = proposals_near(targets)
    torch.manual_seed(5)
    total = cascade.losses(features, proposals, SHAPES, targets)
    torch.manual_seed(5)
    boxes, expected = proposals, dict.fromkeys(total, 0.0)
    for stage, weight in zip(cascade.stages, (1, 0.5, 0.25), strict=True):
        given = [len(each) for each in boxes]
        losses, boxes = stage.losses(features, boxes, SHAPES, targets)
        assert all(0 < len(each) <= 16 for each in boxes) and given
        for name in total:
            expected[name] += weight * losses[name]
    for name, loss in total.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-5, atol=1e-6)


def test_objects_are_not_handed_on_as_boxes(features, targets):
    """The next stage adds them itself."""
    stage = stage_with().train()
    nothing = [torch.zeros(0, 4), torch.zeros(0, 4)]
    _, refined = stage.losses(features, nothing, SHAPES, targets)
    assert [len(each) for each in refined] == [0, 0]


def test_images_without_objects_and_without_proposals(features):
    empty = [target(*SHAPES[0]), target(*SHAPES[1])]
    cascade = Cascade(CHANNELS, CLASSES, HIDDEN, samples=16).train()
    losses = cascade(features, [boxes_of(s, 5) for s in SHAPES], SHAPES, empty)[1]
    assert losses["loss_box_reg"] == losses["loss_mask"] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in cascade.parameters())
    nothing = [torch.zeros(0, 4), torch.zeros(0, 4)]
    found = cascade.eval()(features, nothing, SHAPES)[0]
    assert [each["masks"].shape for each in found] == [(0, 1, 28, 28)] * 2


def test_gradients_of_a_whole_detector_reach_every_parameter():
    detector = small_detector(zero_init=False).train()
    sizes = [(64, 96), (80, 64)]
    targets = [target(64, 96, (1, 4, 6, 40, 50)), target(80, 64, (2, 10, 20, 50, 70))]
    losses = detector(random_images(*sizes), targets)
    assert set(losses) == {
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
        "loss_objectness",
        "loss_rpn_box_reg",
    }
    sum(losses.values()).backward()
    assert [n for n, p in detector.named_parameters() if p.grad is None] == []
