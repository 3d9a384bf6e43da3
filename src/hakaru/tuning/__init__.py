"""Measuring with a memory, quantizing to a budget, and the loop that decides."""
