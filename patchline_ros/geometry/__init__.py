"""From pixels of a picture to metres: on the ground before the car, and in space."""
