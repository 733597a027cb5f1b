"""Entry point of `genomic-platform …`; the commands are in `commands/`.

Exit codes: 0 done; 1 a run failed; 2 bad input, programme or command line; 3 what was asked for does not exist (yet);
4 try again later; 130 interrupted. No traceback without `--debug`.
"""

from __future__ import annotations

import os
import sys
import warnings

from genomic_platform.commands import (  # noqa: F401  each registers its commands
    answers,
    costs,
    genotypes,
    governance,
    installation,
    monitoring,
    pages,
    retraining,
    seasons,
    storage,
)
from genomic_platform.commands.console import app, err
from genomic_platform.errors import GenomicPlatformError


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs a command and turns errors into messages and exit codes."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [a for a in given if a != "--debug"]
    from genomic_platform.results.display import known_error, unexpected_error

    if not debug:
        warnings.simplefilter("ignore")
    try:
        app(given, exit_on_error=True)
    except GenomicPlatformError as error:
        if debug:
            raise
        known_error(err, error)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read the output has seen enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        err.print("interrupted; what was published before stays as it was")
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        unexpected_error(err, error)
        sys.exit(1)
