"""Parts and prototypes: the constraints by hand, contributions that sum to the logit, boxes, projection."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xailib import explain, models
from xailib.models import DPNet, Normalized, ProtoPNet
from xailib.models.parts import (
    assignment_loss,
    complementary_loss,
    discriminative_loss,
    own_parts,
    part_loss,
    region_boxes,
    specificity_loss,
)
from xailib.models.prototypes import prototype_loss, similarity


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Pixels(nn.Sequential):
    """A network whose last stage is the image itself, in blocks of 2 x 2 pixels: regions are known by hand."""

    def __init__(self):
        super().__init__(nn.AvgPool2d(2), nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU(inplace=True))
        nn.init.eye_(self[1].weight[:, :, 0, 0])
        self[2].eps = 0.0
        self.double().eval()


def picture(*rows) -> torch.Tensor:
    """An image of blocks of 2 x 2 pixels, each a channel's number (0 to 2)."""
    blocks = F.one_hot(torch.tensor(rows), 3).permute(2, 0, 1)[None].double()
    return F.interpolate(blocks, scale_factor=2)


def dpnet(**options) -> DPNet:
    """Three parts, which look for channel 0, channel 1, and both alike, and one more of no use; two classes."""
    model = DPNet(Pixels(), 2, **({"parts_per_class": 2, "layer": "2"} | options)).eval()
    with torch.no_grad():
        model.U.copy_(tensor([[3, 0, 0], [0, 2, 0], [1, 1, 0], [0, 0, -1]]))
        model.V.weight.copy_(tensor([[5, 1, 0, 2], [-1, 3, 4, 0]]))
        if model.V.bias is not None:
            model.V.bias.copy_(tensor([0.5, -0.25]))
    return model


HALF = math.sqrt(0.5)  # cosine of 45 degrees


# --- the model, by hand -----------------------------------------------------------------------------------------------


def test_parts_of_a_picture():
    model, x = dpnet(), picture([0, 2], [2, 2])
    expected = tensor([[1, 0, 0, 0], [0, 0, 0, 0], [HALF, 0, 0, 0], [0, -1, -1, -1]])
    torch.testing.assert_close(model.part_maps(x)[0].flatten(1), expected)
    torch.testing.assert_close(model(x, similarities=True)[1][0], expected)
    torch.testing.assert_close(model(x), tensor([[5 + 0.5, -1 + 4 * HALF - 0.25]]))


def test_regions_and_parts_have_length_one():
    model, x = dpnet(), picture([0, 1], [1, 1])
    torch.testing.assert_close(model(0.3 * x), model(x))
    unlike = dpnet(normalize_regions=False)
    torch.testing.assert_close(unlike(0.3 * x, similarities=True)[1], 0.3 * model(x, similarities=True)[1])
    with torch.no_grad():
        model.U *= 7
    torch.testing.assert_close(model(x), dpnet()(x))


def test_average_pooling():
    x = picture([0, 1], [1, 1])
    torch.testing.assert_close(dpnet(pool="avg", bias=False)(x), tensor([[5 / 4 + 3 / 4, -1 / 4 + 9 / 4 + 4 * HALF]]))


@pytest.mark.parametrize("options", [{}, {"pool": "avg"}, {"bias": False}, {"scales": (1, 2)}], ids=str)
def test_contributions_and_bias_sum_to_the_logit(options):
    model = dpnet(**options)
    x, targets = torch.rand(5, 3, 8, 6, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1])
    votes, bias = model.contributions(x, targets), 0 if model.V.bias is None else model.V.bias[targets]
    logits = model(x).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(votes.sum(1) + bias, logits, rtol=0, atol=1e-12)


def test_contributions_by_hand():
    votes = dpnet().contributions(picture([0, 2], [2, 2]), torch.tensor([1]))
    torch.testing.assert_close(votes, tensor([[-1, 0, 4 * HALF, 0]]))


def test_best_boxes_are_where_the_part_is():
    x = torch.cat([picture([2, 2, 0], [1, 2, 2]), picture([1, 2, 2], [2, 2, 0])])
    boxes = dpnet().best_boxes(x)
    assert boxes[0][:2].tolist() == [[4, 0, 6, 2], [0, 2, 2, 4]]
    assert boxes[1][:2].tolist() == [[4, 2, 6, 4], [0, 0, 2, 2]]


def test_regions_of_several_sizes():
    x = picture([0, 1, 2], [1, 0, 2])
    model = dpnet(scales=(1, 2))
    S = model(x, similarities=True)[1][0]
    assert S.shape == (4, 6 + 2)
    # the mean of the left square is (1/2, 1/2, 0), exactly what the third part looks for
    torch.testing.assert_close(S[2], tensor([HALF, HALF, 0, HALF, HALF, 0, 1, 0.5 * HALF / math.sqrt(0.375)]))
    assert model.best_boxes(x)[0][2].tolist() == [0, 0, 4, 4]
    torch.testing.assert_close(model.part_maps(x)[0, 2], tensor([[1, 1, S[2, 7].item()]] * 2))


def test_boxes_cover_an_image_that_the_grid_does_not_divide():
    boxes = region_boxes((2, 3), (5, 7))
    assert boxes.tolist() == [[0, 0, 3, 3], [2, 0, 5, 3], [4, 0, 7, 3], [0, 2, 3, 5], [2, 2, 5, 5], [4, 2, 7, 5]]
    assert region_boxes((2, 2), (8, 8), (2,)).tolist() == [[0, 0, 8, 8]]


# --- the constraints, by hand -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts, loss",
    [
        ([[1, 0], [0, 1]], 0),
        ([[1, 0], [1, 0]], 0.5),
        ([[1, 0], [-1, 0]], 0.5),
        ([[1, 0], [HALF, HALF]], 0.25),
        ([[9, 0], [2, 2]], 0.25),
        ([[1, 0], [1, 0], [0, 1]], 2 / 9),
    ],
)
def test_complementary_loss(parts, loss):
    assert complementary_loss(tensor(parts)).item() == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize(
    "shares, loss", [((0.5, 0.5), math.log(2)), ((1 - 1e-15, 1e-15), 0), ((0.75, 0.25), 0.5623351446188083)]
)
def test_assignment_loss_is_the_entropy_of_a_region(shares, loss):
    S = tensor(shares).log()[None, :, None].repeat(2, 1, 3)  # two images, three regions each
    assert assignment_loss(S, temperature=1).item() == pytest.approx(loss, abs=1e-9)
    assert assignment_loss(0.1 * S).item() == pytest.approx(loss, abs=1e-9)  # the default temperature


def test_assignment_loss_is_a_mean_over_regions():
    S = tensor([[[0.0, 0.0, 50.0], [0.0, 0.0, 0.0]]])
    assert assignment_loss(S, temperature=1).item() == pytest.approx(2 * math.log(2) / 3, abs=1e-9)


def test_balance_prefers_that_all_parts_are_used():
    one, both = tensor([[[50.0, 50], [0, 0]]]), tensor([[[50.0, 0], [0, 50]]])
    assert assignment_loss(one).item() == pytest.approx(assignment_loss(both).item(), abs=1e-9)
    assert assignment_loss(one, assign_balance=2).item() == pytest.approx(0, abs=1e-9)
    assert assignment_loss(both, assign_balance=2).item() == pytest.approx(-2 * math.log(2), abs=1e-9)


@pytest.mark.parametrize("cs, loss", [("abs", 1.5), ("relu", 1.0), ("square", 2.5), ("raw", 0.5)])
def test_specificity_loss(cs, loss):
    assert specificity_loss(tensor([[5, -1], [2, 3]]), cs=cs).item() == loss
    assert specificity_loss(tensor([[5, -7, 0, 0], [0, 0, 1, 2]]), cs=cs).item() == 0


def test_own_parts_are_blocks():
    assert own_parts(2, 6).int().tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]


@pytest.mark.parametrize("options", [{}, {"cs": "square", "temperature": 0.5, "assign_balance": 0.3}], ids=str)
def test_part_loss_is_the_weighted_sum(options):
    model, x, targets = dpnet(), picture([0, 1], [2, 1]), torch.tensor([1])
    loss = part_loss(model, x, targets, complementary=2, assignment=3, specificity=0.5, **options)
    logits, S = model(x, similarities=True)
    cs = {"cs": options["cs"]} if options else {}
    parts = [
        discriminative_loss(logits, targets),
        complementary_loss(model.U),
        assignment_loss(S, **{name: value for name, value in options.items() if name != "cs"}),
        specificity_loss(model.V.weight, **cs),
    ]
    found = [loss.classification, loss.complementary, loss.assignment, loss.specificity]
    assert [part.item() for part in found] == [part.item() for part in parts]
    assert loss.total.item() == pytest.approx((tensor([1, 2, 3, 0.5]) * torch.stack(parts)).sum().item(), rel=1e-12)
    assert loss.classification.item() == pytest.approx(-logits.log_softmax(1)[0, 1].item())


MEASURES = {
    "complementary": lambda model, x: F.cosine_similarity(*model.U, 0).abs(),
    "assignment": lambda model, x: 1 - (model(x, similarities=True)[1] / 0.1).softmax(1).amax(1).mean(),
    "specificity": lambda model, x: model.V.weight[0, 1].abs(),
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_constraint_made_small_does_what_it_says(name):
    torch.manual_seed(0)
    model, x = DPNet(Pixels(), 2, layer="2", parts_per_class=1), torch.rand(4, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        model.U.copy_(tensor([[1, 0.2, 0.1], [0.9, 0.4, 0.2]]))
        model.V.weight.copy_(tensor([[0.6, 0.5], [-0.4, 0.7]]))
        before = MEASURES[name](model, x)
    optimizer = torch.optim.SGD([model.U, *model.V.parameters()], lr=0.3)
    for _ in range(60):
        loss = getattr(part_loss(model, x, torch.tensor([0, 1, 0, 1]), cs="square"), name)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert MEASURES[name](model, x) < 0.5 * before


def test_at_first_a_class_is_the_mean_of_its_own_parts():
    model = DPNet(Pixels(), 2, layer="2", parts_per_class=2)
    assert model.V.weight.tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]


# --- what learns and what stays, what is explained --------------------------------------------------------------------


@pytest.mark.parametrize("make, loss", [(DPNet, part_loss), (ProtoPNet, prototype_loss)])
@pytest.mark.parametrize("training", [True, False])
def test_a_training_step_leaves_the_backbone_as_it_is(make, loss, training):
    torch.manual_seed(0)
    model, x = make(Pixels(), 3, layer="2").train(training), torch.rand(4, 3, 8, 8, dtype=torch.float64)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name in model.state_dict() if not name.startswith("backbone.")}
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    loss(model, x, torch.tensor([0, 1, 2, 0])).total.backward()
    optimizer.step()
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert same == {name for name in before if name.startswith("backbone.")}


@pytest.mark.parametrize("model", [dpnet(), ProtoPNet(Pixels(), 2, layer="2").eval()], ids=["dpnet", "protopnet"])
def test_in_place_layers_do_not_change_what_was_read_and_it_can_be_explained(model):
    x, targets = torch.rand(2, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1])
    seen = explain.evidence.collect(model, x, targets, layer="2")
    torch.testing.assert_close(seen.A, F.avg_pool2d(x, 2))
    step, direction = 1e-6, torch.ones_like(seen.A)
    scores = []
    for way in (step, -step):
        handle = model.backbone[2].register_forward_hook(lambda *_, way=way: seen.A + way * direction)
        scores.append(model(x).gather(1, targets[:, None])[:, 0].detach())
        handle.remove()
    torch.testing.assert_close(seen.G.sum((1, 2, 3)), (scores[0] - scores[1]) / (2 * step), rtol=1e-5, atol=1e-7)
    drops = explain.ablationcam(seen, ablation_norm="none")[..., 0, 0]
    without = seen.A.clone()
    without[:, 1] = 0
    handle = model.backbone[2].register_forward_hook(lambda *_: without)
    expected = seen.scores.detach() - model(x).gather(1, targets[:, None])[:, 0].detach()
    handle.remove()
    torch.testing.assert_close(drops[:, 1], expected, rtol=0, atol=1e-9)


def test_the_last_stage_of_a_known_network_behind_its_normalisation():
    backbone = models.load("torchvision/resnet18", pretrained=False)
    assert isinstance(backbone, Normalized)
    model, x = DPNet(backbone, 4, parts_per_class=3).eval(), torch.rand(1, 3, 64, 64)
    assert (model.layer, tuple(model.U.shape)) == ("layer4", (12, 512))
    X = F.normalize(explain.evidence.collect(backbone, x, torch.tensor([0]), layer="layer4").A.flatten(2), dim=1)
    torch.testing.assert_close(model(x, similarities=True)[1], F.normalize(model.U, dim=1) @ X)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: dpnet(pool="min"), "pool must be 'max' or 'avg', found 'min'"),
        (lambda: dpnet(scales=(0,)), "scales are sizes of regions in places, at least 1, found .0,."),
        (lambda: DPNet(Pixels(), 1, layer="2"), "parts need two classes and a part for each, found 1 and 5"),
        (lambda: specificity_loss(torch.ones(2, 3)), "3 parts cannot be shared evenly by 2 classes"),
        (lambda: specificity_loss(torch.ones(2, 2), cs="sum"), "cs must be one of abs, relu, square, raw, found 'sum'"),
    ],
)
def test_what_makes_no_sense_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- prototypes -------------------------------------------------------------------------------------------------------


def protopnet() -> ProtoPNet:
    """Two classes with a prototype each, in the space of the picture's own colours."""
    model = ProtoPNet(Pixels(), 2, prototypes_per_class=1, dim=3, layer="2").eval()
    model.add_on = nn.Identity()
    with torch.no_grad():
        model.prototypes.copy_(tensor([[1, 0, 0], [0, 1, 0]]))
    return model


def test_similarity_by_hand():
    found = similarity(tensor([0, 1, 99]))
    assert found.tolist() == pytest.approx([math.log(1e4), math.log(2 / 1.0001), math.log(100 / 99.0001)])


def test_nearest_place_counts():
    model, x = protopnet(), picture([0, 2], [2, 2])
    assert model(x, distances=True)[1][0].tolist() == pytest.approx([0, 2])
    near, far = math.log(1e4), math.log(3 / 2.0001)
    assert model(x)[0].tolist() == pytest.approx([near - 0.5 * far, far - 0.5 * near])
    assert model.contributions(x, torch.tensor([1]))[0].tolist() == pytest.approx([-0.5 * near, far])
    assert model.prototype_maps(x)[0, 0].flatten().tolist() == pytest.approx([near, far, far, far])
    assert model.best_boxes(x)[0][0].tolist() == [0, 0, 2, 2]


def test_distances_are_those_of_the_add_on_space():
    torch.manual_seed(0)
    model, x = ProtoPNet(Pixels(), 2, prototypes_per_class=3, dim=4, layer="2"), torch.rand(2, 3, 8, 8).double()
    z = model.patches(x)
    assert 0 < z.min() and z.max() < 1
    d = torch.cdist(model.prototypes.expand(2, -1, -1), z.flatten(2).mT).square().amin(2)
    torch.testing.assert_close(model(x, distances=True)[1], d)
    logits = model(x)
    for c in (0, 1):
        votes = model.contributions(x, torch.tensor([c, c]))
        torch.testing.assert_close(votes.sum(1), logits[:, c])


def test_prototype_loss_by_hand():
    model, x, targets = protopnet(), picture([0, 2], [2, 2]), torch.tensor([0])
    loss = prototype_loss(model, x, targets)
    assert (loss.cluster.item(), loss.separation.item(), loss.sparsity.item()) == pytest.approx((0, 2, 1))
    classification = F.cross_entropy(model(x), targets).item()
    assert loss.total.item() == pytest.approx(classification + 0.8 * 0 - 0.08 * 2 + 1e-4 * 1)
    other = prototype_loss(model, x, torch.tensor([1]))
    assert (other.cluster.item(), other.separation.item()) == pytest.approx((2, 0))


def test_projection_moves_prototypes_onto_patches_of_their_class():
    model = protopnet()
    with torch.no_grad():
        model.prototypes.copy_(tensor([[0.9, 0.1, 0], [0.9, 0.1, 0]]))  # both nearest to channel 0
    batches = [
        (torch.cat([picture([0, 2], [2, 2]), 0.5 * picture([1, 1], [1, 1])]), torch.tensor([1, 0])),
        (picture([2, 2], [1, 0]), torch.tensor([0])),
    ]
    found = model.project(batches)
    torch.testing.assert_close(model.prototypes.detach(), tensor([[1, 0, 0], [1, 0, 0]]))
    assert found.images.tolist() == [2, 0]
    assert found.boxes.tolist() == [[2, 2, 4, 4], [0, 0, 2, 2]]
    assert found.distances.tolist() == pytest.approx([0.02, 0.02])
    assert model.project(batches).distances.tolist() == pytest.approx([0, 0])


def test_projection_needs_images_of_every_class():
    model = protopnet()
    before = model.prototypes.clone()
    with pytest.raises(ValueError, match="no training image of classes .1."):
        model.project([(0.5 * picture([0, 2], [2, 2]), torch.tensor([0]))])
    assert torch.equal(model.prototypes, before)
