"""The machine: accelerators, memory, processor, power.

Asked of the system, or read from a name such as "2x L4".
"""
