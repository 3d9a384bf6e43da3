"""Measuring with a memory, and quantizing to a budget."""
