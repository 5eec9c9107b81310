"""The benchmark: methods side by side on drifts that are declared here, and what they score."""
