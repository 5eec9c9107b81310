"""The preparation of one task as a job of its own, in another process or on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from patchline_ros.files import write_file
from patchline_ros.jobs.scheduler import ReportProgress
from patchline_ros.offline.job_inputs import Facts, Inputs, read_inputs, to_bytes
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.offline.prepared_patches import gate_points_once, is_prepared, prepare_once


class PreparationFacts(Facts):
    """How a task is prepared."""

    settings: PreparationSettings
    source_entropy: float
    """I_source, in nats."""
    seed: int
    """Of all that is drawn."""


@dataclass(frozen=True)
class PreparationJob:
    """Trains the patches of one task, and measures what their gate is fitted to.

    Its inputs lie in PLACE.inputs.safetensors, and what it makes beside them, as
    `prepared_patches` says.
    """

    place: Path
    """Of the files, without their suffixes; its name is the task."""

    @property
    def name(self) -> str:
        """Name in messages."""
        return self.place.name

    @property
    def _inputs(self) -> Path:
        return self.place.with_name(f"{self.place.name}.inputs.safetensors")

    @property
    def is_done(self) -> bool:
        """Whether all that it makes is there."""
        return is_prepared(self.place)

    def write_inputs(self, inputs: Inputs[PreparationFacts]) -> None:
        """Writes what the job reads; those of an earlier call are replaced.

        Raises:
            OSError: the disk refuses it.
        """
        write_file(self._inputs, to_bytes(inputs))

    def __call__(self, report: ReportProgress) -> None:
        """Leaves patches and gate points in their files; goes on where a killed one was.

        Raises:
            TrainingError: a loss that is not finite.
            ValueError: inputs that are missing, or a file that is damaged.
            OSError: the disk refuses it.
        """
        inputs = read_inputs(self._inputs, PreparationFacts)
        facts = inputs.facts
        prepare_once(
            self.place,
            inputs.model,
            inputs.train,
            inputs.held_out,
            facts.settings,
            facts.seed,
            lambda share: report(0.8 * share),
        )
        gate_points_once(
            self.place,
            inputs.model,
            inputs.held_out,
            facts.settings,
            facts.source_entropy,
            facts.seed,
            lambda share: report(0.8 + 0.2 * share),
        )
