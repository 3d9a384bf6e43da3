"""Whether anything leaks: from the cell of the engine, and from hakaru's commands."""
