"""All methods by name, cheapest first, and loading what one of them saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from loracle.errors import ConfigError, unknown
from loracle.methods.bitfit import BITFIT
from loracle.methods.full import FULL
from loracle.methods.head import HEAD
from loracle.methods.llm import LLM, LLM_FEW
from loracle.methods.lora import LORA
from loracle.methods.lstm import LSTM
from loracle.methods.majority import MAJORITY
from loracle.methods.method import Classifier, Method, read_manifest
from loracle.methods.naming import PEFT, is_peft, plain_name, with_options
from loracle.methods.partial import PARTIAL
from loracle.methods.peft import find_peft, load_peft
from loracle.methods.probe import PROBE
from loracle.methods.scratch import SCRATCH
from loracle.methods.tfidf import TFIDF
from loracle.methods.untrained import UNTRAINED
from loracle.methods.variants import VARIANTS
from loracle.models.counting import Counts

_LADDER = (MAJORITY, UNTRAINED, TFIDF, LSTM, SCRATCH, PROBE, HEAD, BITFIT, LORA, PARTIAL, FULL, LLM, LLM_FEW)
METHODS: Mapping[str, Method] = {method.name: method for method in (*_LADDER, *VARIANTS)}

_GROUPS = {
    "all": tuple(method.name for method in _LADDER),
    "all-local": tuple(method.name for method in _LADDER if not method.remote),
    "all-lora": tuple(method.name for method in (LORA, *VARIANTS)),
}


def find_methods(names: Sequence[str]) -> tuple[Method, ...]:
    """Return the methods of these names, in this order; raises ConfigError for an unknown or a doubled one.

    `all` stands for every rung of the ladder, `all-local` for those that run on this machine, `all-lora` for LoRA and
    its variants. A name may carry options of its own, as `naming.py` reads them, and `peft:ia3.json` is a method that
    the file configures.

    >>> [method.name for method in find_methods(["tfidf,probe", "lora"])]
    ['tfidf', 'probe', 'lora']
    """
    names = [names] if isinstance(names, str) else names
    names = [name.strip() for given in names for name in given.split(",")]
    names = [name for given in names for name in _GROUPS.get(given, (given,))]
    for name in names:
        if plain_name(name) not in METHODS and not is_peft(name):
            if ".json" in name:
                raise ConfigError(f"{name!r} is no method; write {PEFT}:<file>.json, with no comma in its path")
            raise unknown("method", plain_name(name), [*METHODS, *_GROUPS])
        if names.count(name) > 1:
            raise ConfigError(f"method {name!r} is named twice")
    if not names:
        raise ConfigError(f"no methods given; allowed: {', '.join(METHODS)}")
    found = tuple(find_peft(name) if is_peft(name) else with_options(name, METHODS[plain_name(name)]) for name in names)
    short = [method.name for method in found]
    for name in short:
        if short.count(name) > 1:
            raise ConfigError(f"two methods would both be called {name!r}; rename a file")
    return found


def load_classifier(folder: str | Path) -> Classifier:
    """Load a classifier that `Classifier.save` wrote; raises ModelError where the folder does not hold one."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    name = str(manifest["method"])
    method = METHODS.get(plain_name(name))
    if method is None and not is_peft(name):
        raise unknown("method", name, METHODS)
    load = method.load if method else load_peft
    return Classifier(
        method=name,
        label_names=tuple(manifest["label_names"]),
        scorer=load(folder),
        counts=Counts(**manifest["counts"]),
        thresholds=tuple(manifest["thresholds"]) if "thresholds" in manifest else None,
    )
