"""Logistic regression on given features, its C chosen on the validation split: what `tfidf` and `probe` share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loracle.errors import ModelError
from loracle.evaluation.metrics import measure, preference
from loracle.files import write_bytes

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

C_GRID = (0.1, 1.0, 10.0, 100.0)
_WEIGHTS_FILE = "linear.safetensors"


def fit_regression(
    train: tuple[Any, np.ndarray], validation: tuple[Any, np.ndarray], *, metric: str, seed: int
) -> tuple[LogisticRegression, dict[str, float], tuple[Mapping[str, Any], ...]]:
    """Fit one regression per C; return the best on validation, its metrics there, and all that were tried.

    Features are (texts, width), dense or sparse; equal scores are told apart by the lower log-loss.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    tried = []
    for c in C_GRID:
        regression = LogisticRegression(C=c, max_iter=1000, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the validation split judges where it stopped
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # so be it
            regression.fit(*train)
        tried.append((regression, measure(validation[1], regression.predict_proba(validation[0]))))
    best, metrics = max(tried, key=lambda item: preference(item[1], metric))
    search = tuple(
        {
            "setting": "C",
            "value": regression.C,
            "accuracy": found["accuracy"],
            "macro_f1": found["macro_f1"],
            "chosen": regression is best,
        }
        for regression, found in tried
    )
    return best, metrics, search


def save_regression(regression: LogisticRegression, folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the regression and further arrays as one safetensors file."""
    from safetensors.numpy import save

    weights = {"coef": regression.coef_, "intercept": regression.intercept_, "classes": regression.classes_}
    write_bytes(
        folder / _WEIGHTS_FILE,
        save({name: np.ascontiguousarray(item) for name, item in {**weights, **arrays}.items()}),
    )


def load_regression(folder: Path) -> tuple[LogisticRegression, dict[str, np.ndarray]]:
    """Read what `save_regression` wrote; raises ModelError where it is missing or broken."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file
    from sklearn.linear_model import LogisticRegression

    try:
        arrays = load_file(folder / _WEIGHTS_FILE)
        regression = LogisticRegression()
        regression.coef_, regression.intercept_ = arrays.pop("coef"), arrays.pop("intercept")
        regression.classes_ = arrays.pop("classes")
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{folder / _WEIGHTS_FILE} cannot be read: {error}") from error
    return regression, arrays
