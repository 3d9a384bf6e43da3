"""How each command is typed: its options, and what it says of itself. A verb's module is imported
when it is named; what it does lives in `commands`, and is imported when it runs.
"""
