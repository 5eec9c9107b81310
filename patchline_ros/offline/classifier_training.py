"""Trains the classifier of a learnt patch predictor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from patchline_ros.adaptation.predictor import Classifier

ITERATIONS: Final = 100
"""Most iterations of L-BFGS; the linear classifier's loss is convex and needs far fewer."""
WEIGHT_DECAY: Final = 1e-3


def _checked(inputs: Sequence[Tensor], labels: Sequence[int], outputs: int) -> None:
    if not inputs or len(inputs) != len(labels):
        raise ValueError(
            f"a patch predictor is trained on sets and as many labels; {len(inputs)} and "
            f"{len(labels)} came"
        )
    for number, (rows, label) in enumerate(zip(inputs, labels, strict=True)):
        if not len(rows):
            raise ValueError(f"set {number} has no frames")
        if not torch.isfinite(rows).all():
            raise ValueError(f"set {number} has features that are not finite; leave it out")
        if not 0 <= label < outputs:
            raise ValueError(
                f"set {number} needs {label} patches; a predictor of this backbone knows 0 to "
                f"{outputs - 1}"
            )


def train_classifier(
    inputs: Sequence[Tensor], labels: Sequence[int], outputs: int, hidden: Sequence[int], seed: int
) -> Classifier:
    """Trains on all frames at once, cross-entropy with weight decay.

    Where all sets need the same number of patches, the classifier learns to say just that.

    Args:
        inputs: (frames, width) of each set.
        labels: patches that each set needs.
        outputs: G + 1.
        hidden: widths of the hidden layers.
        seed: of the first weights; the global random state is left alone.

    Raises:
        ValueError: no sets, other than one label a set, a set without frames, inputs that are not
            finite, or a label that is not in 0..G.
    """
    _checked(inputs, labels, outputs)
    rows = torch.cat([set_rows.float() for set_rows in inputs])
    targets = torch.cat(
        [torch.full((len(s),), label) for s, label in zip(inputs, labels, strict=True)]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(rows.shape[1], hidden, outputs)
    spread = rows.std(dim=0, correction=0)
    classifier.mean.copy_(rows.mean(dim=0))
    # A number that is the same on all frames says nothing; it must not be blown up later.
    classifier.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))
    weights = [parameter for parameter in classifier.parameters() if parameter.ndim > 1]
    optimiser = torch.optim.LBFGS(
        classifier.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        decay = torch.stack([weight.square().sum() for weight in weights]).sum() / 2
        total = functional.cross_entropy(classifier(rows), targets) + WEIGHT_DECAY * decay
        total.backward()
        return total

    optimiser.step(loss)
    return classifier.eval().requires_grad_(False)
