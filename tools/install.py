"""Installs requirements into the environment of the Python that runs this, by its uv or its pip.

uv is many times faster, but reads nothing of what pip was told about indexes, mirrors and proxies.
So it is told the same; where that cannot be, or where there is no uv, pip does the work. Uses the
standard library only, because it runs before anything is installed.
"""

import ast
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterable

PIP = (sys.executable, "-m", "pip")
PIP_INSTALL = (
    *(*PIP, "install", "--no-input", "--disable-pip-version-check"),
    *("--progress-bar", "off", "--quiet"),
)
UV = os.path.join(sys.prefix, "bin", "uv")
UV_INSTALL = (
    *(UV, "pip", "install", "--python", sys.executable, "--no-progress"),
    # pip takes the best version wherever it is; uv stops at the first index that has the package.
    *("--index-strategy", "unsafe-best-match"),
    # As pip does. Else the nodes of a first demo, which start together, would each do it for
    # themselves, and for every start anew where Python is told not to write any.
    "--compile-bytecode",
)

SAME_OPTIONS = {
    "cert": "--cert",
    "constraint": "--constraints",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "index-url": "--default-index",
    "trusted-host": "--allow-insecure-host",
}
"""Options of pip's configuration, and the option of uv that means the same."""

SEVERAL = {"constraint", "extra-index-url", "find-links", "trusted-host"}
"""Those that may have more than one value, with spaces or newlines between them."""

SAME_VARIABLES = {
    "client-cert": "SSL_CLIENT_CERT",
    "no-cache-dir": "UV_NO_CACHE",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
}
"""Options of pip's configuration, and the variable by which uv is told the same."""

OF_NO_CONSEQUENCE = {
    "break-system-packages",
    "cache-dir",
    "compile",
    "disable-pip-version-check",
    "no-color",
    "no-compile",
    "no-input",
    "no-python-version-warning",
    "no-warn-script-location",
    "prefer-binary",
    "progress-bar",
    "quiet",
    "require-virtualenv",
    "retries",
    "root-user-action",
    "verbose",
}
"""Options of pip's configuration that change nothing in what is installed, nor from where."""


def main() -> None:
    """Become the program that installs; the arguments are those that pip and uv both know."""
    command = [*(_uv_install() if os.path.exists(UV) else PIP_INSTALL), *sys.argv[1:]]
    sys.stdout.flush()
    os.execv(command[0], command)


def _uv_install() -> Iterable[str]:
    lines = _output_of([*PIP, "config", "list", "--disable-pip-version-check"])
    configured = configured_options(lines)
    known = {*SAME_OPTIONS, *SAME_VARIABLES, *OF_NO_CONSEQUENCE}
    if unknown := sorted(configured.keys() - known):
        print(f"pip installs, because its configuration has {', '.join(unknown)}")
        return PIP_INSTALL
    for name in configured.keys() & SAME_VARIABLES.keys():
        os.environ[SAME_VARIABLES[name]] = configured[name]
    if "cert" not in configured and _has_certificates():
        # As pip does: there may be one among them that a company's mirror needs.
        os.environ.setdefault("UV_SYSTEM_CERTS", "true")
    return [*UV_INSTALL, *uv_options(configured)]


def configured_options(lines: Iterable[str]) -> dict[str, str]:
    """The options that `pip config list` says, as `pip install` would take them."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in lines:
        entry = re.fullmatch(r"(\w+|:env:)\.([\w-]+)=(.*)", line)
        if entry and entry[1] in sections:
            sections[entry[1]][entry[2]] = str(ast.literal_eval(entry[3]))
    return {**sections["global"], **sections["install"], **sections[":env:"]}


def uv_options(configured: dict[str, str]) -> list[str]:
    """Those that uv has too, for its command line."""
    return [
        word
        for name in sorted(configured.keys() & SAME_OPTIONS.keys())
        for value in (configured[name].split() if name in SEVERAL else [configured[name]])
        for word in (SAME_OPTIONS[name], value)
    ]


def _has_certificates() -> bool:
    """Whether this machine has authorities of its own."""
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and os.listdir(paths.capath)))


def _output_of(command: list[str]) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


if __name__ == "__main__":
    main()
