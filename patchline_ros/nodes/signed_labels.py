"""Labelled frames that say who labelled them: whoever labels teaches the car."""

from __future__ import annotations

from patchline_ros.msg import LabelledFrame
from patchline_ros.nodes.conversions import bytes_field, msg_to_labelled_frame
from patchline_ros.signing import Signer, SigningError, Verifier, label_statement
from patchline_ros.tasks import Sample, Task


def sign_labelled_frame(msg: LabelledFrame, signer: Signer | None, topic: str) -> None:
    """Signs a labelled frame for a topic, by its full name; without a signer it stays unsigned.

    What is signed is what the adapter reads from the message: so it is read here, too.

    Raises:
        ConversionError: nobody could read it.
    """
    if signer is not None:
        frame_id, task, stamp_ns, sample = msg_to_labelled_frame(msg)
        text = label_statement(topic, task, frame_id, stamp_ns, sample)
        msg.signature = bytes_field(signer.sign(text))


class LabelCheck:
    """Whether the labelled frames of a topic are by who may teach this car.

    A frame that was recorded and is sent again has the stamp and the id of the first, and so is
    kept once.
    """

    def __init__(self, verifier: Verifier | None, topic: str) -> None:
        """Without a verifier all are believed; `topic` is the full name."""
        self._verifier, self._topic = verifier, topic

    def is_signed(self, msg: LabelledFrame) -> None:
        """Looks before anything of a frame is read. Raises SigningError for an unsigned one."""
        if self._verifier is not None and not len(msg.signature):
            raise SigningError(
                "it is not signed, and those of labels_key alone are taken here; give whoever "
                "labels the parameter signing_key"
            )

    def check(
        self, msg: LabelledFrame, frame_id: str, task: Task, stamp_ns: int, sample: Sample
    ) -> None:
        """Does nothing where the signature is right for what was read of a frame.

        Raises:
            SigningError: it is not.
        """
        if self._verifier is not None:
            text = label_statement(self._topic, task, frame_id, stamp_ns, sample)
            self._verifier.check(text, bytes(msg.signature))
