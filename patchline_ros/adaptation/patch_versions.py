"""Which patch sets the nodes run, which were undone, and which are sent to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from patchline_ros.adaptation.episode_runner import EpisodeRunner
from patchline_ros.adaptation.log import LOG_AGAIN_SECONDS, Log
from patchline_ros.adaptation.patch_set_files import LAST_VERSION
from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256
from patchline_ros.patching.patch_set import PatchSetError, checked_metadata
from patchline_ros.signing import SigningError
from patchline_ros.tasks import Task


@dataclass(frozen=True)
class SentPatchSet:
    """A patch set on its way to the node of its task; without data it stands for the source model.

    Attributes:
        task: whose model it patches.
        version: its number.
        base_fingerprint: of the source model.
        sha256: of the data; empty without data.
        data: the patch set's file.
        signature: of all that; empty where nobody signs.
    """

    task: Task
    version: int
    base_fingerprint: str
    sha256: str
    data: bytes
    signature: bytes


class PatchVersions:
    """Sends stored patch sets, and hears from the nodes what they run."""

    def __init__(
        self,
        bundle: Bundle,
        runner: EpisodeRunner,
        epoch: int,
        publish: Callable[[SentPatchSet], None],
        log: Log,
    ) -> None:
        """No node has said what it runs yet.

        Args:
            bundle: of the source models.
            runner: keeps the patch sets.
            epoch: of the adapter, in which they are issued.
            publish: sends a patch set to the node of its task.
            log: what is sent, what is not, and why.
        """
        self._bundle, self._runner, self._epoch = bundle, runner, epoch
        self._publish, self._log = publish, log
        self._active: dict[Task, int] = {}
        self._undone: dict[Task, set[int]] = {}

    @property
    def active(self) -> Mapping[Task, int]:
        """Version of the patch set that each node runs, 0 for the source model."""
        return self._active

    @property
    def undone(self) -> bool:
        """Whether patch sets were undone of which nothing is on disk yet."""
        return bool(self._undone)

    def heard(self, task: Task, version: int, removed: int, undone: bool) -> str:
        """Takes in what a node says that it runs.

        Args:
            task: of the node.
            version: of the patch set that runs, 0 for the source model.
            removed: the last version that was undone; 0: none.
            undone: whether that is what it says.

        Returns:
            Why it makes no sense; empty: it does.
        """
        newest = max(version, removed)
        if newest >= LAST_VERSION:
            return f"no patch set for {task} is version {newest}"
        self._runner.heard(task, newest)
        self._active[task] = version
        if undone:
            self._undone.setdefault(task, set()).add(removed)
        return ""

    def keep_undone(self) -> None:
        """What runs since patch sets were undone is the newest, whoever starts again.

        Where the disk refuses that, it is tried again with the next call.
        """
        for task in list(self._undone):
            self._keep_undone(task)

    def _keep_undone(self, task: Task) -> None:
        removed = self._undone.pop(task)
        try:
            base = self._bundle.fingerprint(task)
            kept = self._runner.keep_undone(task, removed, self._active[task], base)
        except (OSError, PatchSetError, SigningError) as error:
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                self._undone[task] = removed
            self._log.error(
                f"that version {max(removed)} for {task} was undone can't be stored: {error}",
                throttle_duration_sec=LOG_AGAIN_SECONDS,
            )
            return
        if kept is not None:
            self.send(task, *kept)

    def return_to_source(self, why: str) -> list[str]:
        """Where a patch set is the newest, or runs and is not stored any more.

        The source model becomes a version of its own.

        Args:
            why: it is to return.

        Returns:
            What the disk refuses, a sentence for each task that goes on as before.
        """
        refused = []
        latest = self._runner.latest()
        for task in self._bundle.manifest.models:
            version, path = latest.get(task, (self._active.get(task, 0), None))
            if not version or (path is not None and not path.stat().st_size):
                continue
            try:
                source = self._runner.return_to_source(task, self._bundle.fingerprint(task))
            except (OSError, SigningError) as error:
                refused.append(
                    f"{why}, but that can't be stored: {error}; {task} goes on with version "
                    f"{version}"
                )
                continue
            self._log.info(f"{why}: the source model for {task} returns")
            self.send(task, *source)
        if refused:
            self._log.error("; ".join(refused), throttle_duration_sec=LOG_AGAIN_SECONDS)
        return refused

    def say_what_is_missing(self) -> None:
        """Patch sets that run, but of which there is no file, can't be compared with."""
        for task, path in self._runner.missing(self._active).items():
            self._log.warning(
                f"version {self._active[task]} for {task} runs, but {path} is gone: what comes is "
                "compared with the source model"
            )

    def send_stored(self) -> list[str]:
        """Sends the newest stored patch set of each task; names them."""
        return [
            f"{task} {version}"
            for task, (version, path) in sorted(self._runner.latest().items())
            if self.send(task, version, path)
        ]

    def issue_again(self) -> None:
        """Sends what is to run once more, where it is signed: a signature is believed for a time.

        To be called more often than every `ISSUED_SECONDS`.
        """
        if self._runner.seal.key is not None:
            self.send_stored()

    def send(self, task: Task, version: int, path: Path) -> bool:
        """Sends a stored patch set that was signed when it was stored; it is issued anew.

        One that is damaged, of another bundle or of nobody here is only reported. An empty one, the
        source model's, is sent without data.
        """
        known = task in self._bundle.manifest.models
        base = self._bundle.fingerprint(task) if known else ""
        try:
            data = path.read_bytes()
            if not known or (data and checked_metadata(data).base_fingerprint != base):
                self._log.warning(f"stored patch set {path} is not sent: it is of another bundle")
                return False
            signature = self._runner.seal.issued(path, task, version, base, data, self._epoch)
        except (OSError, PatchSetError, SigningError) as error:
            self._log.error(f"stored patch set {path} is not sent: {error}")
            return False
        digest = sha256(data) if data else ""
        self._publish(SentPatchSet(task, version, base, digest, data, signature))
        self._log.info(f"patch set {version} for {task} published")
        return True
