"""Speed and memory on this machine, beside what one would use instead.

    python -m benchmarks                                  all rows, in under 25 minutes
    python -m benchmarks --rows w-documented scoring      some of them
    python -m benchmarks --quick                          a smoke run: nothing is written

Writes benchmarks/results/<machine>.json and the table of README.md after each row, so that Ctrl-C keeps what is done.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import Neighbours, describe_circumstances, describe_machine, name_machine
from benchmarks.results import FOLDER, Report, Result, load_report, load_reports, save_report
from benchmarks.rounds import BenchmarkError, check_installed
from benchmarks.rows import ROWS, Row, Scale
from benchmarks.table import README, render_rows, write_table
from benchmarks.workload import DATA
from loracle.comparison.ledger import machine
from loracle.errors import LoracleError
from loracle.threads import prepare_threads


def main(words: list[str] | None = None) -> int:
    """Measure the rows that were asked for; return 2 where that is not possible here, and 130 after Ctrl-C."""
    options = _parse(words)
    prepare_threads()  # for all contestants alike, as Loracle's commands do
    scale = _scale(options)
    found = machine()
    report = load_report(name_machine(found), found, options.out)
    started = time.monotonic()
    print(describe_machine(), flush=True)
    try:
        check_installed("peft", "accelerate")
        if not (scale.data / "train.parquet").is_file():
            raise BenchmarkError(f"no data in {scale.data}; give the folder of IMDB's two Parquet files with --data")
        for name in options.rows or ROWS:
            result = measure_row(name, ROWS[name], scale)
            report = report.with_result(result, tuple(ROWS))
            if not options.quick:
                _keep(report, options.out)
    except LoracleError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; finished rows are kept" if not options.quick else "\nstopped", file=sys.stderr)
        return 130
    print(f"\n{(time.monotonic() - started) / 60:.1f} minutes in all")
    return 0


def measure_row(name: str, row: Row, scale: Scale) -> Result:
    """Measure one row and print its readings as they come, then the row as the table has it."""
    circumstances, neighbours = describe_circumstances(), Neighbours()
    started = time.monotonic()
    print(f"\n{name}: {row.title.format(length=scale.max_length)}", flush=True)

    def tell(number: int, who: str, value: float) -> None:
        turn = f"round {number} of {scale.rounds}" if number else "warming up"
        read = f"{value / 1e6:,.0f} MB" if row.unit == "bytes" else f"{value:.3f} s"
        print(f"  {time.monotonic() - started:5.0f} s  {turn:14} {read:>10}  {who}", flush=True)

    result = row.run(name, scale, tell)
    seconds, others = round(time.monotonic() - started), neighbours.count_busy_cores()
    if others > Neighbours.MANY:
        print(f"  other programs kept {others:.1f} cores busy meanwhile: measure again when they are done")
    print(render_rows([result]), flush=True)
    return replace(result, circumstances={**circumstances, "others": round(others, 2), "seconds": seconds})


def _keep(report: Report, folder: Path) -> None:
    save_report(report, folder)
    if folder == FOLDER:
        write_table(load_reports(folder), README)


def _scale(options: argparse.Namespace) -> Scale:
    """Return the sizes that were asked for; what was not asked for is as usual, or small in a smoke run."""
    scale = Scale(data=options.data, model=options.model)
    given = {name: getattr(options, name) for name in ("rounds", "texts", "max_length") if getattr(options, name)}
    return replace(scale.shrunk() if options.quick else scale, **given)


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="very small sizes, to see that all runs")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with train.parquet and test.parquet of IMDB")
    parser.add_argument("--model", default="minilm", help="base model (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="rounds in turns (default: 5)")
    parser.add_argument("--texts", type=int, help="texts of a round with MiniLM (default: 64)")
    parser.add_argument("--max-length", type=int, help="tokens of a text (default: 256)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the results (default: %(default)s)")
    return parser.parse_args(words)


if __name__ == "__main__":
    raise SystemExit(main())
