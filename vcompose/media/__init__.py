"""The room of the media: what a composition is and how it is made. Knows no job and no web.

    sniff ──> probe ──> plan ──> step ──> make (run_step) ──> verify
                                            │
                     command (argv), child (processes), progress (parser)

:mod:`~vcompose.media.film` walks the whole way for one film; everything else is one idea a module.
"""
