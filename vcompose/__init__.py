"""vcompose joins people's videos: untouched where they fit, encoded only where they must be.

The library calls are in :mod:`vcompose.library`; the two that most programs need are here.
"""

from vcompose.library import Film, join, join_async

__version__ = "0.1.0"

__all__ = ["Film", "__version__", "join", "join_async"]
