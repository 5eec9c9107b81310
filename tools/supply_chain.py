"""What this package stands on: versions with their digests, a bill of materials, and licences.

    python -m tools.supply_chain lock          tools/requirements/lock/*.txt, by uv
    python -m tools.supply_chain inventory     the SBOM (CycloneDX) and docs/licences.md
    python -m tools.supply_chain audit         known vulnerabilities of what is locked, by pip-audit

`lock` asks the index of packages, and so do the programs that uv runs for the others. With a lock
file nothing else than what was looked at is installed:

    pip install --require-hashes -r tools/requirements/lock/checkout.txt
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from patchline_ros.files import write_file
from tools.bootstrap import PACKAGES

ROOT: Final = Path(__file__).resolve().parents[1]
REQUIREMENTS: Final = ROOT / "tools" / "requirements"
LOCKS: Final = REQUIREMENTS / "lock"
LICENCES: Final = ROOT / "docs" / "licences.md"
_CAR: Final = ("torch", "packages", "numpy2", "build", "ros", "uv")
ENVIRONMENTS: Final = {
    "checkout": (*PACKAGES, "numpy2", "build", "ros", "uv"),
    "jazzy": (*PACKAGES, "numpy2", "build", "ros-jazzy", "uv"),
    "car": _CAR,
    "alibi": ("alibi",),
}
"""Requirement files of each environment that is installed, by the name of its lock file."""
_OLDEST_PYTHON: Final = "3.10"
_PLATFORM: Final = "x86_64-manylinux_2_28"
_HEAD: Final = """\
# Licences of what is installed

Written by `python -m tools.supply_chain inventory` from the metadata of the packages in the
environment of a checkout; what a package does not say is empty. `patchline_ros` itself is under the
licence in [LICENSE](../LICENSE).

| package | version | licence |
|---|---|---|
"""

app = typer.Typer(help=__doc__, add_completion=False)


def _uv(*arguments: str) -> str:
    """What uv, or a program that it runs, prints. Raises typer.Exit where it fails."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv) if uv.is_file() else "uv", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        typer.echo(done.stdout + done.stderr, err=True)
        raise typer.Exit(done.returncode)
    return done.stdout


@app.command()
def lock() -> None:
    """Writes a lock file for each environment: every package, also of packages, with digests."""
    LOCKS.mkdir(exist_ok=True)
    for name, files in ENVIRONMENTS.items():
        out = LOCKS / f"{name}.txt"
        _uv(
            *("pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url"),
            *("--no-header", "--no-annotate", "--python-version", _OLDEST_PYTHON),
            # Elsewhere than on these machines ROS 2 has no wheels.
            *(("--universal",) if name == "alibi" else ("--python-platform", _PLATFORM)),
            *(str((REQUIREMENTS / f"{file}.txt").relative_to(ROOT)) for file in files),
            *("-o", str(out.relative_to(ROOT))),
        )
        typer.echo(f"{out.relative_to(ROOT)}: {len(locked(out))} packages")


def locked(path: Path) -> dict[str, str]:
    """Versions by package of a lock file."""
    pins = (line.partition(" ")[0] for line in path.read_text().splitlines() if "==" in line)
    return dict(pin.split("==", 1) for pin in pins)


@app.command()
def inventory(
    out: Annotated[Path, typer.Option(help="File of the SBOM.")] = Path("runs/sbom.cdx.json"),
) -> None:
    """Writes the SBOM of this environment, and the table of licences that is made from it."""
    text = _uv(
        *("tool", "run", "--from", "cyclonedx-bom>=7,<8", "cyclonedx-py", "environment"),
        *(sys.executable, "--of", "JSON", "--output-reproducible"),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, text.encode())
    components = json.loads(text)["components"]
    write_file(LICENCES, (_HEAD + "".join(map(_row, _sorted(components)))).encode())
    typer.echo(f"{out} and {LICENCES.relative_to(ROOT)}: {len(components)} packages")


def _sorted(components: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(components, key=lambda component: str(component["name"]).lower())


def _row(component: dict[str, Any]) -> str:
    said = []
    for entry in component.get("licenses", []):
        licence = entry.get("license", {})
        said.append(entry.get("expression") or licence.get("id") or licence.get("name") or "")
    # Some packages put the whole text where a name belongs.
    short = [" ".join(name.split())[:60] for name in said if name]
    return f"| {component['name']} | {component.get('version', '')} | {', '.join(short)} |\n"


@app.command()
def audit() -> None:
    """Asks for known vulnerabilities of what is locked for a checkout."""
    typer.echo(
        _uv(
            *("tool", "run", "pip-audit", "--disable-pip", "--require-hashes"),
            *("-r", str(LOCKS / "checkout.txt")),
        )
    )


if __name__ == "__main__":
    app()
