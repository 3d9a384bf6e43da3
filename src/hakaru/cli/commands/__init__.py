"""One file per command, named as the command: from its options to its answer."""
