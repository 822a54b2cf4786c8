"""How often each method is run, how many fits at once, and what decides. Importing this does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from loracle.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How often each method is run, how many fits at once, and what decides."""

    seeds: int = 3
    """Seeds for each method that has chance in it."""
    margin: float = 0.01
    """Share of the deciding metric that does not matter (0.01 is one point)."""
    cost_texts: int = 100_000
    """Texts that will be scored over the life of what is shipped; counted in the cost."""
    together: int = 0
    """LoRA fits that are trained in one pass, at most; 0 chooses: 8 on a GPU, 1 on a CPU, where it gains little."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ConfigError(f"seeds is {self.seeds}; allowed: 1 or more")
        if not 0 <= self.margin < 0.5:
            raise ConfigError(f"margin is {self.margin}; allowed: a share from 0 to below 0.5 (0.01 is one point)")
        if self.cost_texts < 0:
            raise ConfigError(f"cost_texts is {self.cost_texts}; allowed: 0 or more")
        if self.together < 0:
            raise ConfigError(f"together is {self.together}; allowed: 0 (chosen), 1 (one by one) or more")
