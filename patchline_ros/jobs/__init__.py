"""Work in pieces that other processes carry out, on this machine or on a Ray cluster."""
