"""A model for many users on vLLM: what each rank holds, how many users fit, and the commands."""
