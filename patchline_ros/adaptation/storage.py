"""What the adapter keeps on disk, below the one folder of its car."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from patchline_ros.adaptation.bank import PatchBank
from patchline_ros.adaptation.episode_runner import EpisodeRunner
from patchline_ros.adaptation.epoch import begin_epoch
from patchline_ros.adaptation.patch_set_files import Seal
from patchline_ros.adaptation.store import FrameStore
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.bundle import REFERENCE, Bundle
from patchline_ros.files import sha256
from patchline_ros.vision.device import Device

EPOCH: Final = "epoch"


@dataclass(frozen=True)
class StorageSettings:
    """How much is kept, and how episodes train on it.

    Attributes:
        capacity: labelled frames of each task.
        capacity_mib: MiB of the labelled frames of each task.
        epochs: of a training.
        seed: of a training.
        threads: of a training.
        device: of a training.
        seal: how patch sets are signed.
    """

    capacity: int
    capacity_mib: int
    epochs: int
    seed: int
    threads: int
    device: Device = Device.CPU
    seal: Seal = field(default_factory=Seal)


@dataclass(frozen=True)
class Storage:
    """Labelled frames, episodes with their patch sets, and the bank of earlier ones.

    Attributes:
        frames: labelled frames, in `frames`.
        runner: of episodes, in `episodes`.
        bank: of earlier patch sets, in `bank`. Signatures in it are features of the model that
            watches; another bundle's can't be compared, so each such model has a bank of its own.
        episode_file: report of the episode that ended last.
        epoch: number of this start, in the file `epoch`.
    """

    frames: FrameStore
    runner: EpisodeRunner
    bank: PatchBank
    episode_file: Path
    epoch: int

    @classmethod
    def open(cls, folder: Path, bundle: Bundle, settings: StorageSettings) -> Storage:
        """Opens what is in the folder, or makes it. The caller holds its `StoreLock`.

        Raises:
            StoreError: the frames can't be opened, or the epoch can't be read.
            OSError: the disk refuses a folder.
        """
        frames = FrameStore(folder / "frames", settings.capacity, settings.capacity_mib)
        runner = EpisodeRunner(
            bundle=bundle.path.resolve(),
            store=folder / "frames",
            work=folder / "episodes",
            training=TrainingSettings(epochs=settings.epochs),
            seed=settings.seed,
            threads=settings.threads,
            device=settings.device,
            seal=settings.seal,
            bundle_key=bundle.key,
        )
        bank = PatchBank(bank_folder(folder, bundle), bundle.drift_reference)
        epoch = begin_epoch(folder / EPOCH)
        return cls(frames, runner, bank, folder / "episodes" / "episode.json", epoch)


def bank_folder(store: Path, bundle: Bundle) -> Path:
    """Folder of the bank that is comparable with a bundle.

    Its signatures are features of one model, whitened as one reference says. With another model or
    reference a bank of its own begins.
    """
    model = bundle.fingerprint(bundle.manifest.drift.task)
    reference = bundle.manifest.files[REFERENCE]
    return store / "bank" / sha256(f"{model} {reference}".encode())[:16]
