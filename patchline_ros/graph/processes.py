"""The graph's processes: started with a log file each, watched, and stopped for certain."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from patchline_ros.graph import description
from patchline_ros.package_share import PACKAGE

STOPPING = ((signal.SIGINT, 8.0), (signal.SIGTERM, 4.0), (signal.SIGKILL, 10.0))
"""What is sent to a process that should end, and the seconds it has to do so."""

IGNORED = (signal.SIGINT, signal.SIGTERM)
"""What this process does not listen to while it starts or stops another."""

DOMAINS = range(1, 102)
"""ROS domain ids whose ports lie below the range that Linux gives to other programs."""

LAST_LINES = 12


class ProcessDiedError(RuntimeError):
    """A process of the graph ended by itself."""


@dataclass(frozen=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path | None


class Processes:
    """Starts processes; leaving the `with` block stops all of them and waits until they are gone.

    Each one leads a process group of its own, so Ctrl-C in the terminal reaches only the demo,
    which then stops them in order, and a last SIGKILL takes their own children along.
    """

    def __init__(self, logs: Path | None, environment: Mapping[str, str]) -> None:
        """`logs` is made; each process writes to NAME.log in it.

        None: each process writes where this one does.
        """
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._environment = dict(environment)
        self._children: list[_Child] = []

    def __enter__(self) -> Processes:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.stop()

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start one process; OSError when its executable is not there.

        One that was started under this name before must have ended; its log goes on.
        """
        log = None if self._logs is None else self._logs / f"{name}.log"
        with nullcontext() if log is None else log.open("ab") as file, _held_back():
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=None if file is None else subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
            self._children = [child for child in self._children if child.name != name]
            self._children.append(_Child(name, process, log))
        return process

    def check(self) -> None:
        """Raise ProcessDiedError, with the end of its log, when one has ended by itself."""
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                ended = f"{child.name} ended by itself ({how})"
                if child.log is None:
                    raise ProcessDiedError(f"{ended}; what it said is above")
                lines = child.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
                raise ProcessDiedError(
                    f"{ended}. The end of {child.log}:\n" + "\n".join(f"  {line}" for line in lines)
                )

    def stop(self) -> None:
        """End every process: asked twice, then made to. A second Ctrl-C does not cut it short."""
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
        try:
            self._end()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _end(self) -> None:
        for signal_number, seconds in STOPPING:
            running = [child for child in self._children if child.process.poll() is None]
            for child in running:
                if signal_number == signal.SIGKILL:
                    os.killpg(child.process.pid, signal_number)
                else:
                    child.process.send_signal(signal_number)
            deadline = time.monotonic() + seconds
            for child in running:
                _wait(child.process, deadline)
        self._children.clear()


@contextmanager
def _held_back() -> Iterator[None]:
    """Answers a signal afterwards: a process that is started but not yet noted would stay."""
    if threading.current_thread() is not threading.main_thread():
        # Python interrupts no other one.
        yield
        return
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda n, _: came.append(n)) for number in IGNORED}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _wait(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return


def free_domain() -> int:
    """A ROS domain id, drawn at random from those in which no participant of this machine is.

    It is the caller's until `release_domain`, or until its process ends: whoever else asks before
    a participant is in it gets another one.

    Raises RuntimeError when every domain is in use.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        claim = _claim(domain)
        if claim is None:
            continue
        if not _in_use(domain):
            _claims[domain] = claim
            return domain
        claim.close()
    raise RuntimeError("all ROS domains 1 to 101 are in use on this machine; stop some nodes")


def release_domain(domain: int) -> None:
    """Lets others draw a domain that `free_domain` gave to this process."""
    _claims.pop(domain).close()


_claims: dict[int, socket.socket] = {}
"""The sockets that claim the domains of this process, by domain."""


def _claim(domain: int) -> socket.socket | None:
    """A socket that one process at a time can have, None when another one has it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        # Linux: a name that begins with a zero byte is no file, and goes with the process.
        claim.bind(f"\0patchline_ros/domain/{domain}")
    except OSError:
        claim.close()
        return None
    return claim


def _in_use(domain: int) -> bool:
    # RTPS: the first participant of a domain on a machine listens for discovery on this port.
    port = 7410 + 250 * domain
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False


def installed_prefix() -> Path | None:
    """Where the package's executables were installed, None when it runs from its source."""
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        return Path(get_package_prefix(PACKAGE))
    except PackageNotFoundError:
        return None


def local_environment(domain: int, profile: Path) -> dict[str, str]:
    """A ROS network of its own, on this machine alone, and one thread a process."""
    variables = description.environment(profile)
    variables.update(
        ROS_DOMAIN_ID=str(domain),
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        OMP_NUM_THREADS="1",
        PYTHONUNBUFFERED="1",
    )
    if os.environ.get("ROS_DISTRO") == "humble":
        variables["ROS_LOCALHOST_ONLY"] = "1"
    return variables
