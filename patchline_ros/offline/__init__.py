"""From labelled source data to a bundle."""
