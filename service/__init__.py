"""Numeral: train handwritten-digit experiments over REST and serve what they learnt."""

from importlib.metadata import version

__version__ = version("numeral")
