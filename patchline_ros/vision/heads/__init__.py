"""What turns a backbone's taps into results: classifiers, detectors, segmenters."""
