"""What the command line returns, and how exceptions become that."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

SOME_FAILED = 1
USAGE = 2
INTERRUPTED = 130


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Print the package's own errors in one line and leave with the code that fits them.

    Errors of configuration and device are usage (2), all others failure (1), Ctrl-C 130.
    Anything else is a bug and keeps its traceback.
    """
    from audiform.errors import AudiformError, Cancelled, ConfigError, DeviceError

    try:
        yield
    except (KeyboardInterrupt, Cancelled):
        print("interrupted; nothing half-written was left", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except (ConfigError, DeviceError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from None
    except AudiformError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(SOME_FAILED) from None
