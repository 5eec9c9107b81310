"""How commands end: with a sentence in place of a traceback, and with an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

import typer

from patchline_ros.foreign_text import visible

FAILURE: Final = 1
"""Exit code of a command that did its work, with a result that is not as it should be."""
USER_ERROR: Final = 2
"""Exit code where the user can mend what is wrong: an option, a file, an installation."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as of a shell."""


def fail(sentence: str, code: int) -> NoReturn:
    """Ends the command with a sentence on stderr."""
    print(f"patchline: {visible(sentence)}", file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def errors_in_a_sentence(
    *,
    interrupted: str = "interrupted",
    os_error: str = "",
    failures: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Ends the command with a sentence for every error that is foreseen; others are raised.

    Args:
        interrupted: what is said after Ctrl-C.
        os_error: what an OSError means here, before its reason; empty: it is not foreseen.
        failures: errors that the user can't mend; they end with FAILURE.
    """
    try:
        yield
    except failures as error:
        fail(str(error), FAILURE)
    except (ValueError, ModuleNotFoundError) as error:
        fail(str(error), USER_ERROR)
    except OSError as error:
        if not os_error:
            raise
        fail(f"{os_error}: {error}", USER_ERROR)
    except KeyboardInterrupt:
        fail(interrupted, INTERRUPTED)


def treat_sigterm_as_ctrl_c() -> None:
    """Lets SIGTERM end the command as Ctrl-C does: with every process stopped."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
