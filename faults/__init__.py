"""Faults on purpose: a real server under load is killed with SIGKILL at chosen moments, and nothing may be lost.

    python -m faults [--seed N] [--kills N] [--quick]

The server runs as a process of its own; clients upload, submit, cancel and delete all the while. Each kill hits one
moment of :mod:`~faults.moments`, and what lies in the data folder afterwards proves that it did. After each restart,
and when all jobs have ended, :mod:`~faults.checks` compares what was promised with what is there.
"""
