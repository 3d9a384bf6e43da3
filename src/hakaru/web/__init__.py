"""The pages in the browser: what runs and how to use it, and a test as it is read."""
