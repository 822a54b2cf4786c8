"""Every loss is torch's where torch has it, and its formula written out where it has not."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from loracle.errors import ConfigError
from loracle.training.budget import Budget
from loracle.training.losses import Loss, balanced_weights

LABELS = np.array([0] * 12 + [1] * 6 + [2] * 2)
SETS = (np.random.default_rng(0).uniform(size=(40, 3)) < [0.6, 0.3, 0.1]).astype(np.uint8)


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(20, 3, generator=torch.Generator().manual_seed(0)) * 2


@pytest.fixture
def set_logits() -> torch.Tensor:
    return torch.randn(40, 3, generator=torch.Generator().manual_seed(1)) * 2


def loss(logits: torch.Tensor, labels: np.ndarray, **options: object) -> float:
    return Loss(Budget(**options), labels)(logits, torch.from_numpy(labels)).item()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", ["none", "balanced"])
def test_cross_entropy_is_that_of_torch(logits: torch.Tensor, smoothing: float, weighted: str) -> None:
    weight = compute_class_weight("balanced", classes=np.arange(3), y=LABELS) if weighted == "balanced" else np.ones(3)
    expected = F.cross_entropy(
        logits, torch.from_numpy(LABELS), weight=torch.tensor(weight, dtype=torch.float32), label_smoothing=smoothing
    )
    found = loss(logits, LABELS, label_smoothing=smoothing, class_weights=weighted)
    assert found == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", ["none", "balanced"])
def test_focal_loss_without_its_power_is_cross_entropy(logits: torch.Tensor, smoothing: float, weighted: str) -> None:
    options = {"label_smoothing": smoothing, "class_weights": weighted}
    plain = loss(logits, LABELS, **options)
    assert loss(logits, LABELS, loss="focal", focal_gamma=1e-9, **options) == pytest.approx(plain, rel=1e-5)


def test_focal_loss_is_its_formula(logits: torch.Tensor) -> None:
    truth = torch.softmax(logits, dim=1).double()[torch.arange(20), torch.from_numpy(LABELS)]
    weights = torch.from_numpy(compute_class_weight("balanced", classes=np.arange(3), y=LABELS))[LABELS]
    focal = -((1 - truth) ** 3) * truth.log()
    assert loss(logits, LABELS, loss="focal", focal_gamma=3) == pytest.approx(focal.mean().item(), rel=1e-5)
    expected = (focal * weights).sum() / weights.sum()
    assert loss(logits, LABELS, loss="focal", focal_gamma=3, class_weights="balanced") == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_focal_loss_halves_what_is_sure_at_lin_et_al_s_figures() -> None:
    """With gamma 2 a text at p = 0.9 counts a hundredth of its cross-entropy (Lin et al. 2017, section 3.2)."""
    logits = torch.log(torch.tensor([[0.9, 0.1]]))
    labels = np.array([0])
    ratio = Loss(Budget(loss="focal"), np.array([0, 1]))(logits, torch.from_numpy(labels)).item() / -np.log(0.9)
    assert ratio == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_that_of_torch(set_logits: torch.Tensor, smoothing: float) -> None:
    targets = torch.from_numpy(SETS).float() * (1 - smoothing) + smoothing / 2
    expected = F.binary_cross_entropy_with_logits(set_logits, targets)
    assert loss(set_logits, SETS, label_smoothing=smoothing) == pytest.approx(expected.item(), rel=1e-6)


def test_binary_focal_loss_is_its_formula(set_logits: torch.Tensor) -> None:
    p, y = torch.sigmoid(set_logits.double()), torch.from_numpy(SETS).double()
    expected = -(y * (1 - p) ** 2 * p.log() + (1 - y) * p**2 * (1 - p).log()).mean()
    assert loss(set_logits, SETS, loss="focal") == pytest.approx(expected.item(), rel=1e-5)


def test_balanced_binary_weights_are_those_of_one_regression_a_label(set_logits: torch.Tensor) -> None:
    weights = np.stack([compute_class_weight("balanced", classes=np.arange(2), y=column) for column in SETS.T])
    assert balanced_weights(SETS, 3) == pytest.approx(weights.T, rel=1e-6)
    cells = torch.from_numpy(np.where(SETS == 1, weights[:, 1], weights[:, 0])).float()
    expected = F.binary_cross_entropy_with_logits(set_logits, torch.from_numpy(SETS).float(), weight=cells)
    assert loss(set_logits, SETS, class_weights="balanced") == pytest.approx(expected.item(), rel=1e-6)


def test_balanced_weights_are_those_of_scikit_learn_and_average_to_one() -> None:
    weights = balanced_weights(LABELS, 3)
    assert weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=LABELS))
    assert weights[LABELS].mean() == pytest.approx(1)


def test_label_that_all_texts_have_weighs_something() -> None:
    assert balanced_weights(np.ones((5, 2), np.uint8), 2).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("absent", [0, 1, 4])
def test_class_that_no_text_has_changes_no_other_weight(absent: int) -> None:
    logits, labels = torch.randn(20, 5, generator=torch.Generator().manual_seed(2)), np.repeat(np.arange(4), 5)
    labels = (labels + (labels >= absent)).astype(np.int64)[3:]
    found, there = balanced_weights(labels, 5), np.unique(labels)
    assert found[there] == pytest.approx(compute_class_weight("balanced", classes=there, y=labels))
    assert found[absent] == 1
    expected = F.cross_entropy(logits[3:], torch.from_numpy(labels), weight=torch.from_numpy(found))
    assert loss(logits[3:], labels, class_weights="balanced") == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_gradients_are_finite_where_the_network_is_sure(gamma: float, size: float) -> None:
    for labels, shape in ((np.array([0, 1]), (2, 2)), (np.eye(2, dtype=np.uint8), (2, 2))):
        logits = (size * torch.tensor([[1.0, -1.0], [1.0, -1.0]]).reshape(shape)).requires_grad_()
        budget = Budget(loss="focal", focal_gamma=gamma, class_weights="balanced", label_smoothing=0.1)
        Loss(budget, labels)(logits, torch.from_numpy(labels)).backward()
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loss", "hinge", "unknown loss 'hinge'"),
        ("class_weights", "balance", "did you mean 'balanced'"),
        ("focal_gamma", -1.0, "focal_gamma is -1.0; allowed: a finite number, 0 or more"),
        ("focal_gamma", float("nan"), "focal_gamma is nan"),
        ("label_smoothing", 1.0, "label_smoothing is 1.0; allowed: a share"),
        ("label_smoothing", -0.1, "label_smoothing is -0.1"),
        ("metric", "f1", "unknown metric 'f1'"),
    ],
)
def test_bad_values_are_refused_by_name(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Budget(**{name: value})
