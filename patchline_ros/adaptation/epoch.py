"""The epoch of an adapter: a number that grows at each of its starts.

What an earlier start issued is old for a node that has heard a later one. A store that is wiped, or
put back from a copy, counts versions anew, and so may give a number twice; the clock keeps the
epoch from that.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from patchline_ros.adaptation.store import StoreError
from patchline_ros.files import write_file

_LARGEST: Final = 2**63
_DIGITS: Final = 19


def begin_epoch(path: Path) -> int:
    """The number of this start, which it also keeps: above the last, and not below the clock.

    Args:
        path: of the file that holds the last one; it may be missing.

    Raises:
        StoreError: the file holds no number that another can follow.
        OSError: the disk refuses it.
    """
    epoch = max(read_epoch(path) + 1, int(time.time()))
    write_file(path, str(epoch).encode())
    return epoch


def read_epoch(path: Path) -> int:
    """The number of the last start; 0: there was none.

    Raises:
        StoreError: the file holds something else.
        OSError: it can't be read.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return 0
    if not (text.isdigit() and len(text) <= _DIGITS and int(text) < _LARGEST):
        raise StoreError(
            f"{path} does not hold the number of the adapter's last start; delete it, and the "
            "clock says the next one"
        )
    return int(text)
