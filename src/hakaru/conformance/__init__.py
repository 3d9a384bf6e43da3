"""Any server with an OpenAI-style API, asked from outside: what it answers rightly, and what it
does wrong.
"""
