"""How far the scene has moved from the source data, and pictures that are made to move."""
