"""Which level of a model to take here: the loop that decides, its rule, and the evidence."""
