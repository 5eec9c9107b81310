"""From pixels of a road picture to metres on the ground in front of the car."""
