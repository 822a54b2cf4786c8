"""The program: its commands, and the one boundary where an error becomes a line.

Exit codes: 0 done, 1 a method failed, 2 something that the user can mend, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from loracle.commands.batch_demo import batch_demo
from loracle.commands.compare import compare
from loracle.commands.compare_runs import compare_runs
from loracle.commands.describe import describe
from loracle.commands.errors import errors
from loracle.commands.plan import plan
from loracle.commands.predict import predict
from loracle.commands.prepare import prepare
from loracle.commands.report import report
from loracle.commands.train import train
from loracle.configuration import find_sources
from loracle.errors import LoracleError
from loracle.printing import refuse, showing_warnings
from loracle.threads import prepare_threads

app = App(
    name="loracle",
    help="Train every reasonable text classifier on your labelled texts, and learn which to ship.\n\n"
    "Start with: loracle compare reviews.csv",
    default_parameter=Parameter(consume_multiple=True, negative=()),
)
for command in (plan, describe, compare, train, predict, report, prepare, errors, compare_runs, batch_demo):
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    prepare_threads()
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app.config = find_sources(tokens)
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        with showing_warnings():
            return command(*bound.args, **bound.kwargs) or 0
    except CycloptsError as error:
        return refuse(f"{error} Try --help.")
    except LoracleError as error:
        return refuse(str(error))
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return refuse(f"{error.filename or 'a file'} cannot be read or written: {error.strerror or error}")
