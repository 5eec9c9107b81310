"""What `./patchline test` runs: pytest, with a worker for each core."""

TIERS = ("unit", "nodes", "pipeline", "process", "trials")
"""Folders of the tests, from the fastest one to the one that takes the longest.

The last one runs only when it is named: pyproject.toml leaves it out of a run of everything.
"""


def pytest_arguments(arguments: list[str]) -> list[str]:
    """What Python is called with.

    arguments: those behind `test`. The names of tiers come first; everything else is pytest's own,
    and overrides what stands here, as `-n 0` does for one test in a debugger.
    """
    tiers = 0
    while arguments[tiers : tiers + 1] and arguments[tiers] in TIERS:
        tiers += 1
    folders = [f"test/{tier}" for tier in arguments[:tiers]]
    # A file stays with one worker, so that its tests share what is expensive to make.
    spread = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    return ["-m", "pytest", "-rfEs", *spread, *folders, *arguments[tiers:]]
