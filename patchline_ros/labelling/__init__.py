"""What other detectors and people say about pictures, made into labels that teach a car."""
