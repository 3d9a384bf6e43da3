"""llama.cpp behind one seam: child processes that may die without taking hakaru along."""
