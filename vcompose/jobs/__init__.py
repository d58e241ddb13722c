"""The room of the jobs: what was accepted and what became of it. Knows no web.

It is empty until the service moves in; the walls stand already, and the architecture test holds them.
"""
