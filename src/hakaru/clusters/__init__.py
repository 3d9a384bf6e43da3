"""Machines that work together: what each node has, and how fast they reach each other."""
