"""A method may carry options of its own in its name."""

from pathlib import Path

import pytest

from loracle.data.loading import load_task
from loracle.errors import ConfigError
from loracle.methods.method import Setup
from loracle.methods.registry import METHODS, find_methods, load_classifier
from loracle.training.budget import Budget


def test_variant_is_fitted_with_its_own_rank_saved_and_loaded(tiny_base: Path, tiny_file: Path, tmp_path: Path) -> None:
    task = load_task(tiny_file)
    setup = Setup(model=str(tiny_base), budget=Budget(epochs=1, max_length=16))
    wide, usual = (
        method.fit(task, setup, seed=0).classifier for method in find_methods(["lora:rank=16:targets=query", "lora"])
    )
    assert wide.method == "lora:rank=16:targets=query"
    assert wide.counts.adapter == usual.counts.adapter  # twice the rank on half the layers
    wide.save(tmp_path / "wide")
    assert load_classifier(tmp_path / "wide").method == wide.method


def test_given_learning_rate_is_the_only_one_tried() -> None:
    (method,) = find_methods(["lora:learning_rate=2e-4"])
    assert method.learning_rates == (2e-4,)
    assert method.name == "lora:learning_rate=2e-4"
    assert METHODS["lora"].learning_rates != (2e-4,)


def test_blanks_in_a_name_make_no_other_method() -> None:
    first, second = find_methods(["lora: rank = 16"]) + find_methods(["lora:rank=16"])
    assert first.name == second.name == "lora:rank=16"


def test_name_without_options_is_the_method_itself() -> None:
    assert find_methods(["lora"]) == (METHODS["lora"],)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfidf:rank=16", "takes no options"),
        ("lora:lstm_hidden=3", "unknown option"),
        ("lora:targets=../x", "is no option"),
        ("lora:rnak=4", "did you mean 'rank'"),
        ("lora:rank", "is no option"),
        ("lora:rank=", "is no option"),
        ("lora:rank=4.5", "a whole number"),
        ("lora:rank=many", "a number"),
        ("lora:rank=inf", "a number"),
        ("lora:rank=0", "rank is 0"),
        ("lora:rank=4:rank=8", "twice"),
        ("lora:learning_rate=-1", "above 0"),
        ("lora:learning_rate=nan", "a number"),
        ("tfidf:learning_rate=0.1", "takes no options"),
        ("partial:frozen_layers=1.5", "a whole number, or a share"),
        ("partial:train_embeddings=yes", "true or false"),
        ("loora:rank=4", "did you mean 'lora'"),
    ],
)
def test_option_that_cannot_be_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_methods([name])
