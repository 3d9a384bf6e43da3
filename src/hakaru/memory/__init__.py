"""What a model takes in memory, by part and to the byte.

Pure arithmetic on a model and its settings.
"""
