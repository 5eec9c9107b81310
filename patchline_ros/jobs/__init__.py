"""Jobs that other processes run, on this machine or on a Ray cluster."""
