"""Keeps the patch sets of earlier drifts, so that one that returns finds what it left."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from patchline_ros.adaptation.episode_report import Basis
from patchline_ros.drift.kernels import Features
from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.files import adopt_earlier_names, write_file
from patchline_ros.tasks import Task

NEAR: Final = 0.5
"""A drift is like an earlier one when its MMD^2 to that one's frames is at most this part of its
MMD^2 to the source."""
_SIGNATURE = "signature.safetensors"
_TURN, _BASIS = "turn", "basis"
_ADDING, _GOING = ".adding", ".going"
_NAME: Final = re.compile("[0-9]{6,18}")


@dataclass(frozen=True)
class KnownDrift:
    """An earlier drift that the present one is like.

    Attributes:
        name: of the entry.
        mmd2: between the frames of then and of now.
        from_source: MMD^2 between the source and the frames of now.
        patch_sets: files of the patch sets of then, by task. They are candidates only: a gate
            decides on frames of now.
        basis: what they rest on. Patch sets that were trained on labels need no other training;
            what was answered without labels does, where labels come.
    """

    name: str
    mmd2: float
    from_source: float
    patch_sets: dict[Task, Path]
    basis: Basis


class PatchBank:
    """A folder with one entry for each drift: what its frames looked like, and its patch sets.

    The signature of a drift are the pooled features of its frames, which the drift monitor has
    anyway; two are compared by the unbiased MMD^2 with the monitor's own kernel. Each entry notes
    when its turn was last, that is when it came or was of use: the one whose turn was longest ago
    goes first.
    """

    def __init__(
        self,
        folder: Path,
        reference: DriftReference,
        capacity: int = 16,
        capacity_bytes: int = 512 * 2**20,
    ) -> None:
        """Makes the folder, and removes what a killed process left half-written.

        Args:
            folder: of the bank.
            reference: the source's features, whitening and kernel.
            capacity: entries that are kept.
            capacity_bytes: bytes that they may take; the newest stays even if it takes more.

        Raises:
            ValueError: a capacity below 1.
            OSError: the folder can't be made or written.
        """
        if capacity < 1:
            raise ValueError(f"a bank keeps at least one drift; the capacity is {capacity}")
        self._folder, self._reference = folder, reference
        self._capacity, self._capacity_bytes = capacity, capacity_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._cleared(_ADDING)
        for name in self.entries():
            adopt_earlier_names(folder / name)
        self._make_room()

    @property
    def is_empty(self) -> bool:
        """Whether no drift is known."""
        return not self.entries()

    def entries(self) -> list[str]:
        """Names in the order of their age, the oldest first."""
        return sorted(path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name))

    def used(self, name: str) -> None:
        """An entry was of use: its patch sets held, so it stays longer than the others.

        Raises:
            OSError: the disk refuses it.
        """
        if name in self.entries():
            write_file(self._folder / name / _TURN, b"%d" % self._next_turn())

    def _next_turn(self) -> int:
        return 1 + max((self._turn(name) for name in self.entries()), default=0)

    def _turn(self, name: str) -> int:
        """When an entry's turn was last; 0 where that is not known."""
        path = self._folder / name / _TURN
        text = path.read_bytes() if path.is_file() else b""
        return int(text) if re.fullmatch(rb"[0-9]{1,18}", text) else 0

    def add(self, raw: Features, patch_sets: Mapping[Task, bytes], basis: Basis = "labels") -> str:
        """Keeps a drift, whole or not at all; where there is no room, another entry goes.

        Args:
            raw: (n, d) raw features of its frames, two or more.
            patch_sets: bytes of the patch sets that passed the gate.
            basis: what they rest on.

        Returns:
            The entry's name.

        Raises:
            ValueError: no patch set, or features that do not fit the reference.
            OSError: the disk refuses it; the other entries stay.
        """
        if not patch_sets:
            raise ValueError("a drift without patch sets has nothing to keep")
        signature = self._whitened(raw)
        names = self.entries()
        name = f"{int(names[-1]) + 1 if names else 1:06d}"
        aside = self._cleared(_ADDING)
        aside.mkdir()
        write_file(aside / _SIGNATURE, save({"features": signature}))
        for task, data in patch_sets.items():
            write_file(aside / f"{task}.safetensors", data)
        write_file(aside / _TURN, b"%d" % self._next_turn())
        write_file(aside / _BASIS, basis.encode())
        os.replace(aside, self._folder / name)
        self._make_room()
        return name

    def renew(self, name: str, patch_sets: Mapping[Task, bytes], basis: Basis) -> None:
        """An entry gets other patch sets; tasks that have none keep theirs. It counts as used.

        Does nothing where the entry has gone.

        Args:
            name: of the entry.
            patch_sets: bytes of the patch sets that passed the gate.
            basis: what they rest on; written last, so that one that is interrupted is trained anew.

        Raises:
            OSError: the disk refuses it.
        """
        if name not in self.entries():
            return
        for task, data in patch_sets.items():
            write_file(self._folder / name / f"{task}.safetensors", data)
        write_file(self._folder / name / _BASIS, basis.encode())
        self.used(name)
        self._make_room()

    def _basis(self, name: str) -> Basis:
        """What the patch sets of an entry rest on; entries of before had labels only."""
        path = self._folder / name / _BASIS
        answered = path.is_file() and path.read_bytes() == b"prediction"
        return "prediction" if answered else "labels"

    def _make_room(self) -> None:
        # The newest had the last turn: it stays, and so does its number, which is not given again.
        falling = sorted(self.entries(), key=lambda name: (self._turn(name), name), reverse=True)
        size, room = 0, 0
        for name in falling[: self._capacity]:
            size += sum(path.stat().st_size for path in (self._folder / name).iterdir())
            room += size <= self._capacity_bytes
        for name in reversed(falling[max(room, 1) :]):
            os.replace(self._folder / name, self._cleared(_GOING))
        self._cleared(_GOING)

    def _cleared(self, aside: str) -> Path:
        """A place beside the entries, without what an interrupted change may have left there."""
        path = self._folder / aside
        if path.exists():
            shutil.rmtree(path)
        return path

    def find(self, raw: Features, broken: Callable[[str], object]) -> KnownDrift | None:
        """The earlier drift that these frames are most like; None where they are like none.

        Args:
            raw: (n, d) raw features of the frames of now, two or more.
            broken: told, in a sentence, of each entry that can't be used; the others are looked at.

        Raises:
            ValueError: features that do not fit the reference.
        """
        now = self._whitened(raw)
        bandwidth = self._reference.bandwidth
        from_source = mmd2(now, self._reference.features, bandwidth)
        if from_source <= self._reference.threshold:
            return None
        distances = {}
        for name in self.entries():
            try:
                distances[name] = mmd2(now, self._signature(name), bandwidth)
            except ValueError as error:
                broken(str(error))
        if not distances:
            return None
        nearest = min(distances, key=lambda name: distances[name])
        if distances[nearest] > NEAR * from_source:
            return None
        return KnownDrift(
            nearest,
            distances[nearest],
            from_source,
            self._patch_sets(nearest),
            self._basis(nearest),
        )

    def _patch_sets(self, name: str) -> dict[Task, Path]:
        files = {task: self._folder / name / f"{task}.safetensors" for task in Task}
        return {task: path for task, path in files.items() if path.is_file()}

    def _signature(self, name: str) -> Features:
        """Features of the entry's frames. Raises ValueError where it is broken."""
        path = self._folder / name / _SIGNATURE
        try:
            features: Features = load_file(path)["features"]
        except (SafetensorError, FileNotFoundError, KeyError) as error:
            raise ValueError(
                f"entry {path.parent} of the bank can't be read: {error}; delete that folder"
            ) from error
        width = self._reference.width
        shaped = features.ndim == 2 and len(features) > 1 and features.shape[1] == width
        if not shaped or not np.isfinite(features).all():
            raise ValueError(
                f"entry {path.parent} of the bank can't be used: its features have the shape "
                f"{features.shape}, or are not finite, where frames of {width} are needed; delete "
                "that folder"
            )
        return features

    def _whitened(self, raw: Features) -> Features:
        if raw.ndim != 2 or len(raw) < 2 or raw.shape[1] != self._reference.width:
            raise ValueError(
                f"a drift's signature needs two or more frames of {self._reference.width} "
                f"features; it has the shape {raw.shape}"
            )
        if not np.isfinite(raw).all():
            raise ValueError("a drift's signature has features that are not finite")
        return self._reference.whitening(raw)
