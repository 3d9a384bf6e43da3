"""What a model is: its file, its tensors and numbers, its architecture, and where it comes from."""
