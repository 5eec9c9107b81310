"""Patches beside a frozen backbone, and the sets of them that are trained, saved and sent."""
