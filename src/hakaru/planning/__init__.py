"""Where a model goes on a machine, whether it fits there, and what would help.

Arithmetic on a footprint.
"""
