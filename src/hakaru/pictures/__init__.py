"""Charts and reports of what was measured, as files that need nothing else."""
