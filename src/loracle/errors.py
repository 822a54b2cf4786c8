"""What can go wrong, as one tree.

    LoracleError            anything that a user can mend; the CLI prints it as one line and exits with 2
    ├── ConfigError         an option, key or name that is unknown or out of range
    ├── DataError           texts or labels that cannot be used as they are
    ├── ModelError          a base model or adapter that cannot be loaded or does not fit
    ├── TrainingError       a training that diverged
    ├── FileError           a file of a saved model or run that is missing or broken
    └── RunError            a run folder that cannot be written or continued

    LoracleWarning          what works and is probably not meant; the CLI prints it as one line and goes on

A message says what was given, what is allowed, and what to do, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LoracleError(Exception):
    """Anything that the user can mend."""


class ConfigError(LoracleError):
    """An option, key or name that is unknown or out of range."""


class DataError(LoracleError):
    """Texts or labels that cannot be used as they are."""


class ModelError(LoracleError):
    """A base model or adapter that cannot be loaded or does not fit."""


class TrainingError(LoracleError):
    """A training that diverged."""


class FileError(LoracleError):
    """A file of a saved model or run that is missing or broken."""


class RunError(LoracleError):
    """A run folder that cannot be written or continued."""


class LoracleWarning(UserWarning):
    """What works and is probably not meant."""


def unknown(what: str, given: str, allowed: Iterable[str]) -> ConfigError:
    """Return the error for a name that does not exist, with the closest one that does.

    >>> str(unknown("method", "tfdif", ["tfidf", "probe"]))
    "unknown method 'tfdif'; did you mean 'tfidf'? Known: probe, tfidf"
    """
    known = sorted(allowed)
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return ConfigError(f"unknown {what} {given!r}{hint} Known: {', '.join(known)}")
