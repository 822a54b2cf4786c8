import pytest

from loracle.errors import ConfigError
from loracle.models.networks import NetworkConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frozen_layers", -1),
        ("frozen_layers", 1.5),
        ("frozen_layers", float("nan")),
        ("frozen_layers", float("inf")),
        ("scratch_layers", 0),
        ("scratch_heads", 3),
        ("scratch_dropout", 1.0),
        ("lstm_words", 0),
        ("lstm_dropout", -0.1),
        ("untrained", "luck"),
    ],
)
def test_size_that_cannot_be_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        NetworkConfig(**{name: value})
