"""hakaru (測る measure, 量る weigh, 図る plan): the language model that truly fits your machine,
measured.
"""

__version__ = "0.1.0"
