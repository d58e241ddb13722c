"""A fault of a request, found by the web itself: a code of :mod:`~vcompose.web.problems`, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel


class Fault(Exception):
    """``errors`` are its places in a document; ``close``: the connection cannot be used any more."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[BaseModel] = (),
        parameters: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.parameters = parameters or {}
        self.headers = headers or {}
        self.close = close
