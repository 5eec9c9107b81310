"""Trials: the whole graph on this computer, put through what a car may do to it."""
