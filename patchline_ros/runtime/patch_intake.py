"""What becomes of the patch sets that come for one running model, and of those that are undone."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

from patchline_ros.patching.patch_set import PatchSetError
from patchline_ros.runtime.model_runner import Candidate, ModelRunner
from patchline_ros.runtime.version_memory import VersionMemory
from patchline_ros.signing import SigningError, Verifier, statement


class ModelState(IntEnum):
    """What became of the last patch set that came; the numbers are those of PatchStatus.msg."""

    SOURCE = 0
    ACTIVE = 1
    REFUSED = 2
    REMOVED = 3


@dataclass(frozen=True)
class ModelStatus:
    """Which model runs after something happened, and what it was.

    Attributes:
        state: what happened.
        version: of the patch set that runs now, 0 for the source model.
        reason: why a patch set was refused or removed, or the source model returned.
        build_seconds: to check, build and warm a patched model beside the running one.
        swap_seconds: for which the swap held up the next picture.
        removed: version of the patch set that was removed, 0 where none was.
        sentence: for the log; empty where there is nothing to say.
    """

    state: ModelState
    version: int
    reason: str = ""
    build_seconds: float = 0.0
    swap_seconds: float = 0.0
    removed: int = 0
    sentence: str = ""


@dataclass(frozen=True)
class OfferedPatchSet:
    """A patch set as it came: nothing of it has been checked.

    Without data it asks for the source model.
    """

    task: str
    version: int
    base_fingerprint: str
    sha256: str
    data: memoryview
    """The set's bytes; they are only copied once the rest was checked."""
    signature: bytes


@dataclass(frozen=True)
class RemovedBefore:
    """It was removed here, of which its sender did not hear."""

    version: int


@dataclass(frozen=True)
class Refused:
    """It is not what it should be."""

    version: int
    reason: str
    seconds: float


@dataclass(frozen=True)
class SourceAsked:
    """The source model is to return."""

    version: int
    signed: bool


@dataclass(frozen=True)
class Built:
    """Its model is ready to run."""

    candidate: Candidate
    seconds: float
    signed: bool


Decision = RemovedBefore | Refused | SourceAsked | Built


@dataclass(frozen=True)
class Trust:
    """Whose patch sets are taken.

    Attributes:
        verifier: checks signatures; None: nobody's are checked.
        accept_unsigned: takes patch sets without a signature, though there is a verifier.
        car: that patch sets have to be signed for: the namespace of its graph.
    """

    verifier: Verifier | None = None
    accept_unsigned: bool = False
    car: str = "/"


class PatchIntake:
    """Checks patch sets that come, has their models built, and changes the running model.

    `examine` may run in a thread beside the model; all else belongs to the thread that runs the
    model, between two pictures.
    """

    def __init__(
        self,
        runner: ModelRunner,
        trust: Trust,
        largest_bytes: int,
        memory: VersionMemory,
    ) -> None:
        """Nothing has come yet.

        Args:
            runner: of the model.
            trust: whose patch sets are taken.
            largest_bytes: that a patch set may have.
            memory: of the versions that ran and were removed here.
        """
        self._runner = runner
        self._trust = trust
        self._largest_bytes = largest_bytes
        self._memory = memory
        self._newest_unsigned = 0

    def turned_away(self, offered: OfferedPatchSet) -> Refused | None:
        """The decision on a patch set that need not wait: one of too many bytes, or a stranger's.

        None: it may wait until `examine` looks at the rest of it.
        """
        if refused := self._too_large(offered.version, len(offered.data)):
            return refused
        try:
            self._check_sender(offered)
        except SigningError as error:
            return Refused(offered.version, str(error), 0.0)
        except PatchSetError:  # It is said when its turn comes.
            return None
        return None

    def _too_large(self, version: int, size: int) -> Refused | None:
        if size <= self._largest_bytes:
            return None
        return Refused(
            version,
            f"its {size / 2**20:.0f} MiB are more than largest_patch_set_mib, "
            f"{self._largest_bytes >> 20}",
            0.0,
        )

    def examine(self, offered: OfferedPatchSet) -> Decision | None:
        """Checks a patch set and builds and warms its model beside the running one.

        Returns:
            What is to be done; None: nothing, since it runs already.
        """
        if self._runs_already(offered):
            # That of a later start makes what an earlier one issued old.
            with suppress(PatchSetError, SigningError):
                self._check_sender(offered)
            return None
        if refused := self._too_large(offered.version, len(offered.data)):
            return refused
        started = time.monotonic()
        try:
            self._check_sender(offered)
            if self._memory.was_removed(offered.version):
                return RemovedBefore(offered.version)
            self._check(offered)
            if not offered.data:
                return SourceAsked(offered.version, self._is_signed(offered))
            candidate = self._runner.build(offered.data.tobytes(), offered.sha256)
            if candidate.version != offered.version:
                raise PatchSetError(
                    f"the message says version {offered.version}, its data version "
                    f"{candidate.version}"
                )
            if offered.signature and candidate.metadata.expected is None:
                raise PatchSetError(
                    "it is signed, but does not say what is expected of it, so nobody could see "
                    "it collapse"
                )
        except (PatchSetError, SigningError) as error:
            return Refused(offered.version, str(error), time.monotonic() - started)
        seconds = time.monotonic() - started
        return Built(candidate, seconds, self._is_signed(offered))

    def _is_signed(self, offered: OfferedPatchSet) -> bool:
        """Whether its version counts for those that are signed; without a key all versions do."""
        return self._trust.verifier is None or bool(offered.signature)

    def _runs_already(self, offered: OfferedPatchSet) -> bool:
        """A restarted adapter sends again what runs here."""
        active = self._runner.active
        same = bool(offered.data) == bool(active)
        same &= offered.sha256 == (active.sha256 if active else "")
        return same and offered.version <= max(self._memory.newest, self._newest_unsigned)

    def _check(self, offered: OfferedPatchSet) -> None:
        """What can be said before reading the data. Raises PatchSetError."""
        self._check_version(offered)
        if not offered.data and offered.sha256:
            raise PatchSetError("it names a sha256, but has no data")
        if not offered.data and offered.base_fingerprint != self._runner.fingerprint:
            raise PatchSetError("it asks for the source model of another bundle")

    def _check_sender(self, offered: OfferedPatchSet) -> None:
        """Raises PatchSetError for another node's, SigningError for one of nobody's."""
        trust, task = self._trust, self._runner.task
        if offered.task != task.value:
            raise PatchSetError(f"it is for {offered.task!r}, this node runs {task}")
        if trust.verifier is None:
            return
        if offered.signature:
            named = (offered.version, offered.base_fingerprint, offered.sha256)
            text = statement(trust.car, task, *named)
            self._check_epoch(trust.verifier.check_issued(text, offered.signature))
        elif not trust.accept_unsigned:
            raise SigningError(
                "it is not signed, and this node takes those of trusted_key alone; sign it, or "
                "set accept_unsigned to true"
            )

    def _check_epoch(self, epoch: int) -> None:
        """Raises SigningError for what an earlier start of the adapter issued."""
        if epoch < self._memory.epoch:
            raise SigningError(
                "it was issued before the adapter's last start that was heard here: somebody sends "
                "it again"
            )
        with suppress(OSError):  # It is said with the next version that runs.
            self._memory.heard(epoch)

    def _check_version(self, offered: OfferedPatchSet) -> None:
        """Raises PatchSetError. What is not signed shuts out nothing that is."""
        newest = self._memory.newest
        old = self._memory.is_old(offered.version, offered.sha256)
        if not self._is_signed(offered):
            newest = max(newest, self._newest_unsigned)
            old = offered.version <= newest
        if old:
            raise PatchSetError(
                f"its version {offered.version} is not newer than {newest}, the newest that has "
                "run here"
            )

    def carry_out(self, decision: Decision) -> ModelStatus:
        """Does what was decided."""
        if isinstance(decision, Built):
            return self._swap(decision)
        if isinstance(decision, SourceAsked):
            return self._return_to_source(decision)
        if isinstance(decision, RemovedBefore):
            return self._removed(decision.version, "was removed here")
        return ModelStatus(
            ModelState.REFUSED,
            self._runner.patch_version,
            decision.reason,
            decision.seconds,
            sentence=f"patch set {decision.version} for {self._runner.task} refused: "
            f"{decision.reason}",
        )

    def roll_back(self) -> ModelStatus | None:
        """Back to the model that ran before; None where no patch set is active."""
        removed = self._runner.rollback()
        return None if removed is None else self._removed(removed, "was removed on request")

    def collapsed(self, version: int, how: str) -> ModelStatus:
        """The runner has taken back a patch set that had collapsed."""
        return self._removed(version, f"was taken back: {how}")

    def _swap(self, built: Built) -> ModelStatus:
        started = time.monotonic()
        self._runner.activate(built.candidate)
        version, seconds = built.candidate.version, time.monotonic() - started
        forgotten = self._ran(version, built.candidate.sha256, built.signed)
        return ModelStatus(
            ModelState.ACTIVE,
            version,
            build_seconds=built.seconds,
            swap_seconds=seconds,
            sentence=f"patch set {version} is active: built in {built.seconds:.2f} s, swapped in "
            f"{seconds * 1e3:.2f} ms{forgotten}",
        )

    def _return_to_source(self, asked: SourceAsked) -> ModelStatus:
        """What is not newer than this version is refused from now on."""
        self._runner.return_to_source()
        forgotten = self._ran(asked.version, "", asked.signed)
        reason = f"the adapter returns to the source model{forgotten}"
        return ModelStatus(
            ModelState.SOURCE, 0, reason, sentence=f"the source model runs: {reason}"
        )

    def _ran(self, version: int, sha256: str, signed: bool) -> str:
        """Remembers it; what there is to add to the sentence where the disk does not."""
        if not signed:
            self._newest_unsigned = version
            return ""
        return _kept(lambda: self._memory.ran(version, sha256))

    def _removed(self, version: int, what: str) -> ModelStatus:
        """A removed version is not taken again when it is sent again."""
        forgotten = _kept(lambda: self._memory.removed(version))
        reason = f"version {version} {what}{forgotten}"
        return ModelStatus(
            ModelState.REMOVED,
            self._runner.patch_version,
            reason,
            removed=version,
            sentence=f"patch set for {self._runner.task}: {reason}",
        )


def _kept(remember: Callable[[], None]) -> str:
    """What there is to add to a sentence where the disk refuses to remember it; else nothing."""
    try:
        remember()
    except OSError as error:
        return f", which the disk does not remember for the next start ({error})"
    return ""
