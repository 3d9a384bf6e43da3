"""Which level of a model to take on this machine: the loop that decides, its rule, and the evidence."""
