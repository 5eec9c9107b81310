"""From labelled frames of a drifted scene to gated patch sets."""
