"""The room of the jobs: what was accepted and what became of it. Knows no web.

:mod:`~vcompose.jobs.lifecycle` is the table of a job's life, :mod:`~vcompose.jobs.store` the only module that writes it
and tells of it, :mod:`~vcompose.jobs.hub` hands that to whoever watches. Scheduler and service have yet to move in.
"""
