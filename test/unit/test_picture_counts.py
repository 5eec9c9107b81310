"""What the diagnostics say of a model that can't keep up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from patchline_ros.nodes import picture_counts
from patchline_ros.nodes.picture_counts import PictureCounts


def test_pictures_without_an_answer_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(picture_counts.time, "monotonic", lambda: now)
    counts = PictureCounts()
    counts.taken()
    now = 101.9
    counts.taken()
    assert not counts.overload(0)
    now = 102.5
    trouble = counts.overload(0)
    assert trouble.stops and trouble.sentence.startswith("no answer for 2 s although pictures come")
    counts.done()
    assert not counts.overload(0)


def test_a_model_that_skips_most_pictures_is_a_warning() -> None:
    counts = PictureCounts()
    counts.processed = 5
    assert not counts.overload(5)
    counts.processed = 6
    trouble = counts.overload(10)
    assert not trouble.stops
    assert trouble.sentence.startswith("5 of the last 6 pictures were skipped")
    assert not counts.overload(10)


def test_every_thread_of_a_training_gives_way() -> None:
    """Those that libraries have started keep their own niceness, which `os.nice` leaves alone."""
    program = (
        "import os, threading; from patchline_ros.host import give_way;"
        "stop = threading.Event(); thread = threading.Thread(target=stop.wait); thread.start();"
        "give_way(10); later = threading.Thread(target=stop.wait); later.start();"
        "print({os.getpriority(os.PRIO_PROCESS, int(t)) for t in os.listdir('/proc/self/task')});"
        "stop.set()"
    )
    own = int(subprocess.check_output(["nice"], text=True))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{{{min(own + 10, 19)}}}\n", done.stderr


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel does not group sessions"
)
def test_a_training_in_a_session_of_its_own_gives_way_to_the_other_sessions() -> None:
    """Else its session would get as much of a core as all nodes of the car's session together."""
    program = (
        "from pathlib import Path; from patchline_ros.host import give_way;"
        "give_way(10); print(Path('/proc/self/autogroup').read_text())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert done.stdout.split()[1:] == ["nice", "10"], done.stderr
