"""The page in the browser: the second face. It shows what runs and how to use it; it holds no logic of its own."""
