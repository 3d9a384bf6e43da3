"""A model from elsewhere onto this disk: which of the published files, what stands against it, the
transfer, and the checks afterwards; and off the disk again.
"""
