"""The benchmark: methods side by side on the same drifts, and what they score."""
