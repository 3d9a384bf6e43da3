"""A model that answers: supervisor of the engine's server, gateway in front of it, record."""
