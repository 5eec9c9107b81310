"""Labelled and unlabelled pictures from files: CamVid, GTSRB, folders, videos and bags."""
