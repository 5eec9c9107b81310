"""What methods cost: counted operations and memory, and their comparison as tables."""
