"""What was lost and how fast it is: divergence, tasks, speed, and the statistics behind."""
