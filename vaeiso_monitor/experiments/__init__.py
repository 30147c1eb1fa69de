"""The experiments of the paper, run from scratch and set beside its published numbers."""
