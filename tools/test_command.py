"""What `./patchline test` runs: pytest, with a worker for each core."""

from pathlib import Path

TIERS = ("unit", "cases", "nodes", "pipeline", "process", "trials")
"""Folders of the tests, from the fastest one to the one that takes the longest.

The last one runs only when it is named: pyproject.toml leaves it out of a run of everything.
"""


def pytest_arguments(arguments: list[str]) -> list[str]:
    """What Python is called with.

    arguments: those behind `test`. The names of tiers come first; everything else is pytest's own,
    and overrides what stands here, as `-n 0` does for one test in a debugger.
    """
    tiers = _named_tiers(arguments)
    folders = [f"test/{tier}" for tier in arguments[:tiers]]
    # A file stays with one worker, so that its tests share what is expensive to make.
    spread = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    return ["-m", "pytest", "-rfEs", *spread, *folders, *arguments[tiers:]]


def unknown_place(arguments: list[str], root: Path) -> str | None:
    """What is wrong with the first argument behind the tiers, if it is neither option nor file.

    pytest with several workers would only say that there are no tests.
    """
    for place in arguments[_named_tiers(arguments) :][:1]:
        if not place.startswith("-") and not (root / place.split("::")[0]).exists():
            return f"{place!r} is neither a file nor a tier of tests; the tiers: {', '.join(TIERS)}"
    return None


def _named_tiers(arguments: list[str]) -> int:
    tiers = 0
    while arguments[tiers : tiers + 1] and arguments[tiers] in TIERS:
        tiers += 1
    return tiers
