"""Which type each tensor gets, within a budget or a tier, and the writer that makes the file."""
