"""`loracle errors`: the texts that a finished run gets wrong."""

from __future__ import annotations

from pathlib import Path

from loracle.commands.flags import open_console, row_progress


def errors(
    run: Path,
    *,
    method: str | None = None,
    methods_pair: tuple[str, str] | None = None,
    seed: int | None = None,
    data: str | None = None,
    test: Path | None = None,
    rows: int | None = None,
    out: Path | None = None,
) -> int:
    """List the test texts that methods of a run get wrong, the surest mistakes first.

    Three lists: what one method gets wrong, what two methods disagree on, and what all methods get wrong, where wrong
    labels are to be looked for first.

    Example: loracle errors runs/reviews --method tfidf --out errors.html

    Parameters
    ----------
    run
        The folder that `loracle compare --out` wrote.
    method
        Method whose mistakes are listed; the one that the verdict names if left out.
    methods_pair
        Two methods whose disagreements are listed; the one above and the best other one if left out.
    seed
        Seed of the methods that have several; of each the one best on validation if left out.
    data
        Where the run's data lies now; where it lay when it was run if left out.
    test
        Where the file with the test split lies now, if the run had one.
    rows
        Texts of each list that the page holds, at most, 300 if left out; the CSV holds all.
    out
        File to write, .csv or .html; errors.csv and errors.html in the run's folder if left out.
    """
    from loracle.comparison.finished import load_run
    from loracle.comparison.mistakes import find_mistakes
    from loracle.reporting import mistakes as listing

    console, finished, limit = open_console(), load_run(run), listing.ROWS if rows is None else rows
    places = (out,) if out is not None else (run / "errors.csv", run / "errors.html")
    for place in places:
        listing.check_mistakes_output(place, limit)  # before the data is read, which may take a while
    with row_progress(console) as on_rows:
        found = find_mistakes(run, method=method, pair=methods_pair, seed=seed, data=data, test=test, on_rows=on_rows)
        for place in places:
            listing.write_mistakes(found, place, rows=limit)
    own = found.answers[found.place(found.method)]
    which = ", the best on validation" if seed is None and len(finished.results(found.method)) > 1 else ""
    console.print(f"{listing.headline(found)} Seed {own.seed}{which}.", style="bold")
    console.print()
    console.print(listing.kinds_table(found))
    console.print()
    for position, line in enumerate(listing.top_lines(found, width=console.width)):
        console.print(line, style="dim" if position % 2 else None, soft_wrap=True)
    console.print(f"\nAll of them: {' '.join(map(str, places))}", soft_wrap=True)
    return 0
