"""Which language model is asked, where, and what it may cost. Importing this does not import a client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from loracle.errors import ConfigError, unknown
from loracle.prompting.purse import Purse
from loracle.prompting.server import check_url

KEEP = ("last", "first", "both")


@dataclass(frozen=True, kw_only=True)
class LLMConfig:
    """How the methods `llm` and `llm-few` ask."""

    llm_model: str | None = None
    """Model that the methods llm and llm-few ask; its name on the server."""
    llm_base_url: str | None = None
    """OpenAI-compatible server; OPENAI_BASE_URL, or OpenAI's own, if left out."""
    llm_keep: str = "last"
    """Which part of a long text is sent: last, first or both."""
    llm_characters: int = 500
    """Characters of each text that are sent."""
    llm_texts_per_call: int = 10
    """Texts asked about in one call."""
    llm_examples: int = 3
    """Examples that llm-few shows, drawn from the training split, balanced."""
    llm_concurrency: int = 8
    """Calls under way at the same time."""
    llm_timeout: float = 60.0
    """Seconds that the server may stay silent in a call."""
    llm_budget: float | None = None
    """Most that may be spent, in the price file's currency; no call is made that would pass it."""
    llm_prices: Path | None = None
    """TOML file with prices; the dated one that comes with Loracle if left out."""
    llm_cache: Path | None = None
    """Folder in which every answer is kept; the user's cache folder if left out."""

    def __post_init__(self) -> None:
        for name in ("llm_prices", "llm_cache"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)).expanduser())
        if self.llm_base_url is not None:
            check_url(self.llm_base_url, "llm_base_url")
        if self.llm_keep not in KEEP:
            raise unknown("llm_keep", self.llm_keep, KEEP)
        for name in ("llm_characters", "llm_texts_per_call", "llm_examples", "llm_concurrency"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed: 1 or more")
        if not self.llm_timeout > 0:
            raise ConfigError(f"llm_timeout is {self.llm_timeout}; allowed: seconds above 0")
        if self.llm_budget is not None and not self.llm_budget > 0:
            raise ConfigError(
                f"llm_budget is {self.llm_budget}, which allows no call; give an amount above 0, or leave it out"
            )

    @cached_property
    def purse(self) -> Purse:
        """What was spent under this configuration; all methods of a run share it, so that the budget holds for all."""
        return Purse(self.llm_budget)
