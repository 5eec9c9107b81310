"""Pages that people keep: one file each, with everything they show inside it, and no script."""
