"""Which model for a task on a machine: a search over the whole catalogue, and what to buy."""
