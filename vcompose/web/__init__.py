"""The room of the web: HTTP, WebSocket, uploads. Knows no ffmpeg and no SQL.

It is empty until the service moves in; the walls stand already, and the architecture test holds them.
"""
