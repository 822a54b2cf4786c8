"""The frozen base model as a feature extractor: what `probe` and `untrained` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

    from loracle.models.counting import Counts
    from loracle.training.budget import Budget
    from loracle.training.fitting import OnStep
    from loracle.training.precision import ComputePath


@dataclass(frozen=True)
class Extractor:
    """A frozen base model that turns texts into vectors."""

    model: str
    max_length: int
    network: nn.Module
    tokenizer: PreTrainedTokenizerBase
    path: ComputePath
    base_precision: str = "full"
    identity: str = ""

    def features(
        self, texts: Sequence[str], on_step: OnStep | None = None, *, pool: Literal["mean", "token"] = "mean"
    ) -> np.ndarray:
        """Return the last layer's mean over each text's tokens, or the token that a head would read: the last one of a
        decoder, the first one elsewhere; float32 (texts, hidden).
        """
        import torch

        from loracle.models.families import reads_last_token
        from loracle.training.attention import use_attention
        from loracle.training.batching import map_batches, tokenise
        from loracle.training.fitting import SCORING_BATCH

        last = reads_last_token(self.network.config.model_type)  # type: ignore[union-attr, arg-type]

        @torch.inference_mode()
        def compute(ids: Tensor, mask: Tensor) -> Tensor:
            ids, mask = ids.to(self.path.device), mask.to(self.path.device)
            with self.path.autocast():
                hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            if on_step:
                on_step(len(ids), None)
            if pool == "token":
                token: Tensor = hidden[torch.arange(len(ids)), mask.sum(1) - 1 if last else 0]
                return token
            weights = mask.unsqueeze(-1).float()
            mean: Tensor = (hidden * weights).sum(1) / weights.sum(1)
            return mean

        tokens = tokenise(self.tokenizer, texts, self.max_length)
        use_attention(self.network, self.path, tokens.lengths, training=False)
        return map_batches(tokens, SCORING_BATCH, compute)

    def count_parameters(self) -> Counts:
        """Return the parameters of the base model, and the bytes that it takes."""
        from loracle.models.counting import count_parameters

        return count_parameters(self.network, ())

    def to_json(self) -> dict[str, object]:
        """Return what `load_extractor` needs to make the same one again."""
        return {
            "model": self.model,
            "max_length": self.max_length,
            "precision": self.path.precision,
            "deterministic": self.path.deterministic,
            "base_precision": self.base_precision,
            "base_identity": self.identity,
        }


def load_extractor(model: str, budget: Budget, base_precision: str = "full") -> Extractor:
    """Load a frozen base model for a budget's path and length, held in `base_precision`.

    Raises ModelError where the model cannot be loaded, ConfigError where it does not read so many tokens.
    """
    from loracle.training.precision import path_for

    return _load(model, budget.max_length, path_for(budget), base_precision)


def load_saved_extractor(saved: Mapping[str, Any]) -> Extractor:
    """Load the extractor that gave this `to_json`; raises as `load_extractor`, and ModelError for other weights."""
    from loracle.lora.peft_format import check_identity
    from loracle.training.precision import choose_path_like

    path = choose_path_like(saved["precision"], deterministic=saved.get("deterministic", False))
    extractor = _load(saved["model"], saved["max_length"], path, saved.get("base_precision", "full"))
    check_identity(f"the regression over {extractor.model}", saved.get("base_identity", ""), extractor.identity)
    return extractor


def _load(model: str, max_length: int, path: ComputePath, base_precision: str) -> Extractor:
    from loracle.models.identity import identify_weights
    from loracle.models.loading import check_max_length, load_encoder, load_tokenizer
    from loracle.models.quantising import quantise
    from loracle.training.precision import hold_frozen

    tokenizer = load_tokenizer(model)
    network = load_encoder(model)
    identity = identify_weights(network, ())
    quantise(network, base_precision)
    hold_frozen(network.to(path.device), path)
    check_max_length(tokenizer, network.config, max_length)
    return Extractor(model, max_length, network, tokenizer, path, base_precision, identity)
