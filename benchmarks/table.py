"""The tables of the README, one a machine, from the results of all machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.results import Report, Result, Side
from loracle.files import write_text

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- bench:start -->", "<!-- bench:end -->"
NOTHING = "No machine's results are in `benchmarks/results` yet."

_HEADINGS = ("what", "Loracle", "beside it", "ratio", "target", "reached", "also")
_SCALES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_VERDICTS = {None: "", True: "yes", False: "no"}


def render_table(reports: Sequence[Report]) -> str:
    """Return one table a machine in Markdown, with where and when it was measured above it."""
    return "\n\n".join(_render_report(report) for report in reports if report.results or report.quality) or NOTHING


def replace_marked(text: str, table: str) -> str:
    """Return the text with the table between the two markers; raises ValueError where they are not there, once each."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"the text must hold {START} and then {END}, once each")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{table}\n\n{END}{after}"


def write_table(reports: Sequence[Report], path: Path = README) -> None:
    """Put the tables of these reports into the README."""
    write_text(path, replace_marked(path.read_text(encoding="utf-8"), render_table(reports)))


def render_rows(results: Sequence[Result]) -> str:
    """Return rows as a table in Markdown; a column in which no row has anything is left out."""
    rows = [_render_cells(result) for result in results]
    shown = [place for place in range(len(_HEADINGS)) if any(row[place] for row in rows)]
    table = [_HEADINGS, ("---",) * len(_HEADINGS), *rows]
    return "\n".join(f"| {' | '.join(row[place] for place in shown)} |" for row in table)


def render_quality(quality: Mapping[str, Any]) -> str:
    """Return one sentence about the accuracy of the fast path beside the reference path."""
    difference, asked = quality["difference"], quality["asked"]
    low, high = (100 * difference[bound] for bound in ("low", "high"))
    return (
        f"Accuracy after {asked['epochs']} epochs of LoRA on {asked['texts']:,} texts of {asked['max_length']} tokens, "
        f"over {asked['seeds']} seeds and {quality['test_texts']:,} test texts: {quality['fast']:.1%} by the fast path "
        f"({quality['how']}), {quality['reference']:.1%} by the float32 reference, "
        f"{100 * difference['value']:+.2f} points [{low:+.2f}, {high:+.2f}]: {quality['verdict']}."
    )


def _render_report(report: Report) -> str:
    parts = [_render_circumstances(report)]
    if report.results:
        parts.append(render_rows(report.results))
    if report.quality:
        parts.append(render_quality(report.quality))
    return "\n\n".join(parts)


def _render_cells(result: Result) -> tuple[str, ...]:
    low, high = min(result.ratios), max(result.ratios)
    return (
        result.title,
        _render_side(result.ours, result.unit),
        f"{_render_side(result.toughest, result.unit)}: {result.toughest.name}",
        f"{_short(result.ratio)} [{_short(low)}, {_short(high)}]",
        "" if result.target is None else str(result.target),
        _VERDICTS[result.reached],
        "; ".join(result.notes),
    )


def _render_circumstances(report: Report) -> str:
    """Say where, when and with what it was measured; where rows differ, all that there is."""
    found, quality = report.machine, report.quality
    all_of = [result.circumstances for result in report.results] + ([quality["circumstances"]] if quality else [])
    gpu = f", {found['gpu']}" if found.get("gpu") else ""
    dates = sorted(str(item["date"])[:10] for item in all_of)
    commits = sorted({f"`{item['commit']}`" for item in all_of if item["commit"]})
    busy = max(float(item["others"]) for item in all_of)
    return "; ".join(
        [
            f"{found['processor']}, {found['cores']} cores{gpu}",
            " or ".join(sorted({f"{item['threads']} threads" for item in all_of})),
            f"other programs on {busy:.1f} cores at most",
            " or ".join(sorted({_render_versions(item["versions"]) for item in all_of})),
            *([f"commit {' or '.join(commits)}"] if commits else []),
            " to ".join(dict.fromkeys(_render_date(date) for date in (dates[0], dates[-1]))),
            "medians over rounds in turns; the ratio is the median of the rounds' own, and their spread.",
        ]
    )


def _render_versions(versions: Mapping[str, str]) -> str:
    shown = {"python": "Python", "torch": "torch", "transformers": "transformers", "peft": "PEFT"}
    return ", ".join(f"{word} {versions[name]}" for name, word in shown.items() if name in versions)


def _render_date(date: str) -> str:
    return f"{datetime.fromisoformat(date):%d %B %Y}".lstrip("0")


def _render_side(side: Side, unit: str) -> str:
    scales = _SCALES if unit == "bytes" else ()
    size, name = next(((size, name) for size, name in scales if side.median >= size), (1, unit))
    return f"{_short(side.median / size)} {name}"


def _short(number: float) -> str:
    """Return a number with three significant digits and no exponent."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
