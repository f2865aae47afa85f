"""Losses of batches: mixed images, weighed classes, a teacher's answers."""

import pytest
import torch
from torch.nn import functional

from supernet.errors import UserError
from supernet.training.augmentation import Augmentation, mixed
from supernet.training.recipe import Recipe

IMAGES, LABELS = torch.randn(8, 3, 6, 6), torch.tensor([0, 1, 2, 3, 3, 2, 1, 1])


def linear(seed=0):
    weights = torch.randn(4, 108, generator=torch.Generator().manual_seed(seed))
    return lambda images: images.flatten(1) @ weights.T / 10


def loss(recipe, *answers, class_weights=None):
    torch.manual_seed(3)
    return recipe.batch_loss(linear(), [IMAGES, LABELS, *answers], 4, class_weights)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_targets_are_mixed_as_pixels_are(kind):
    """Each pixel of constant images is as bright as their classes say."""
    labels = torch.arange(8)
    images = labels.float().view(8, 1, 1, 1).expand(8, 3, 16, 16)
    torch.manual_seed(1)
    augmentation = Augmentation(**{kind: 1.0})
    mixtures, targets = mixed(augmentation, images, functional.one_hot(labels).float())
    assert torch.allclose(targets.sum(1), torch.ones(8))
    assert torch.allclose(mixtures.mean((1, 2, 3)), targets @ labels.float(), atol=1e-5)
    assert not torch.equal(mixtures, images)
    assert torch.equal(images[:, 0, 0, 0], labels.float())


def test_mixing_follows_torchs_generator_alone():
    def draw(seed):
        torch.manual_seed(seed)
        return mixed(Augmentation("strong"), IMAGES, torch.eye(8))[1]

    assert torch.equal(draw(5), draw(5))
    assert not torch.equal(draw(5), draw(6))


def test_an_odd_batch_is_not_mixed():
    with pytest.raises(UserError, match="a batch has 7 images, which mixup and cutmix cannot"):
        mixed(Augmentation("strong"), IMAGES[:7], torch.eye(7))


def test_weights_are_inverse_to_numbers_and_1_on_average():
    labels = [0] * 6 + [1] * 3 + [2]
    weights = Recipe(class_weights="balanced").weights_of(lambda: labels, 4)
    assert weights.tolist() == pytest.approx([10 / 24, 10 / 12, 10 / 4, 10 / 4])
    assert float(weights[:3][labels].mean()) == pytest.approx(30 / 40)
    assert Recipe().weights_of(lambda: labels, 4) is None


def test_the_weighed_loss_is_a_mean_over_images():
    weights = torch.tensor([2.0, 1.0, 0.5, 4.0])
    each = functional.cross_entropy(linear()(IMAGES), LABELS, reduction="none")
    expected = (each * weights[LABELS]).mean()
    assert torch.isclose(loss(Recipe(label_smoothing=0.0), class_weights=weights), expected)


def test_weights_of_1_and_a_teacher_without_a_share_change_nothing():
    plain, ones = loss(Recipe()), torch.ones(4)
    assert torch.isclose(loss(Recipe(), class_weights=ones), plain)
    assert torch.isclose(loss(Recipe(teacher_share=0.0), torch.randn(8, 4)), plain)


def test_a_teacher_is_followed_at_its_temperature():
    answers = torch.randn(8, 4)
    recipe = Recipe(teacher_share=1.0, temperature=3.0)
    own = (linear()(IMAGES) / 3).log_softmax(1)
    theirs = (answers / 3).softmax(1)
    expected = 9 * (theirs * (theirs.log() - own)).sum(1).mean()
    assert torch.isclose(loss(recipe, answers), expected)
    assert loss(recipe, linear()(IMAGES)) == pytest.approx(0, abs=1e-5)


def test_answers_are_mixed_with_their_images():
    """A linear teacher's probabilities, mixed, differ from those of nobody mixed."""
    recipe = Recipe(teacher_share=1.0, augmentation=Augmentation(mixup=1.0))
    answers = 5 * functional.one_hot(LABELS, 4).float()
    torch.manual_seed(3)
    both = torch.cat([functional.one_hot(LABELS, 4), (answers / 2).softmax(1)], 1)
    images, targets = mixed(recipe.augmentation, IMAGES, both)
    own = (linear()(images) / 2).log_softmax(1)
    expected = 4 * functional.kl_div(own, targets[:, 4:], reduction="batchmean")
    assert torch.isclose(loss(recipe, answers), expected)


def test_values_of_version_0_1_tell_a_recipe_that_uses_nothing_newer():
    values = Recipe().as_values()
    assert len(values) == 13
    assert not {"augmentation", "class_weights", "teacher_share", "temperature"} & values.keys()
    used = Recipe(augmentation=Augmentation("light", erasing=0.1), temperature=4.0).as_values()
    assert used.keys() - values.keys() == {
        "augmentation.randaugment",
        "augmentation.erasing",
        "temperature",
    }
