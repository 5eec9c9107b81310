"""Runs the drift monitor alone on a video, and says when the scene stops looking like the source.

    python examples/watch_video_for_drift.py resource/sim_road VIDEO --every 5

No model is changed, and no ROS is needed. A folder of pictures or a ROS bag will do, too.
"""

import argparse
import sys
from pathlib import Path

import torch

from patchline_ros.bundle import Bundle
from patchline_ros.datasets.recordings import open_frames
from patchline_ros.drift.monitor import DriftMonitor
from patchline_ros.vision.backbone import pooled
from patchline_ros.vision.inputs import image_tensor, resize_image


def main() -> None:
    """Prints each change of the verdict."""
    parser = argparse.ArgumentParser(description="When does a recording drift from the source?")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--every", type=int, default=1, help="look at every Nth frame only")
    options = parser.parse_args()

    bundle = Bundle.load(options.bundle)
    watched = bundle.manifest.drift
    model, size = bundle.model(watched.task), bundle.spec(watched.task).input_size
    monitor = DriftMonitor(bundle.drift_reference)
    drifting = False
    for number, frame in enumerate(open_frames(options.recording)):
        if number % options.every:
            continue
        with torch.inference_mode():
            picture = image_tensor(resize_image(frame.image, size))[None]
            features = pooled(model.backbone.tap(picture, watched.tap))[0].numpy()
        # A stamp names the drift; here the number of the frame does.
        reading = monitor.update(features, stamp_ns=number + 1)
        if reading is not None and reading.drifting != drifting:
            drifting = reading.drifting
            said = "drifts from the source" if drifting else "looks like the source again"
            measured = f"MMD² {reading.mmd2:.3f} of {reading.threshold:.3f}"
            # At once, where the output is a file or a pipe, too.
            print(f"frame {number}: {said} ({measured})", flush=True)
    print(f"{number + 1} frames")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        # A wrong path, or a broken file: the sentence says which.
        sys.exit(str(error))
