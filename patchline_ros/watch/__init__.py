"""What a person sees of a running car: which topics, the page in a browser, the status in words."""
