"""Labelled and unlabelled pictures from files: public data sets, folders, videos and bags."""
