"""Sets up and checks a checkout; no part of the installed package."""
