"""Prints docs/commands.md: every command and its options, as typer knows them."""

import subprocess
import sys
import tempfile
from pathlib import Path

HEAD = """\
# Command line

Written by `python -m tools.list_commands` from the commands themselves; a test compares. In a
checkout the command is `./patchline`. It ends with 0, with 1 for a result that does not hold, with
2 for what you can mend, and with 130 after Ctrl-C.
"""


def page() -> str:
    """The page, in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "commands.md")
        command = [sys.executable, "-m", "typer", "patchline_ros.cli.app", "utils", "docs"]
        subprocess.run(
            [*command, "--name", "patchline", "--output", str(listed)],
            check=True,
            capture_output=True,
        )
        text = listed.read_text(encoding="utf-8")
    # Typer escapes for HTML, but an apostrophe needs none.
    body = text.replace("&#x27;", "'").replace("# `patchline`\n", "", 1).strip()
    return f"{HEAD}\n{body}\n"


if __name__ == "__main__":
    print(page(), end="")
