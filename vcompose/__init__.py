"""vcompose joins people's videos: untouched where they fit, encoded only where they must be.

The library calls are in :mod:`vcompose.library`; the two that most programs need are here.
"""

# nothing is imported before it is needed, not even typing: an interrupt must find the command line ready for it
TYPE_CHECKING = False
if TYPE_CHECKING:
    from vcompose.library import Film, MediaError, join, join_async, wanted

__version__ = "0.1.0"

__all__ = ["Film", "MediaError", "__version__", "join", "join_async", "wanted"]


def __getattr__(name: str) -> object:
    # on first use: the command line must listen to signals before this half second of imports
    if name in __all__ and name != "__version__":
        from vcompose import library  # noqa: PLC0415 - see above

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
