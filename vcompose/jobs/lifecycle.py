"""The life of a job, as a table. No transition exists that is not in it.

    pending ──> processing ──> completed | failed | cancelled
    pending ──> cancelled

A wish to cancel is a column of the job, not a state: a job is cancelled when its children are proven gone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """What became of a job so far."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Input(StrEnum):
    """What can happen to a job."""

    START = "start"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"


TRANSITIONS: Final = {
    (State.PENDING, Input.START): State.PROCESSING,
    (State.PENDING, Input.CANCEL): State.CANCELLED,
    (State.PROCESSING, Input.FINISH): State.COMPLETED,
    (State.PROCESSING, Input.FAIL): State.FAILED,
    (State.PROCESSING, Input.CANCEL): State.CANCELLED,
}

LIVE: Final = frozenset(state for state, _ in TRANSITIONS)
"""The states that something can still happen to."""
ENDED: Final = frozenset(State) - LIVE


class IllegalTransition(Exception):
    """An input came in a state that does not take it; nothing was changed."""

    def __init__(self, state: State, given: Input) -> None:
        super().__init__(f"a job that is {state} takes no {given}")
        self.state = state
        self.given = given


def after(state: State, given: Input) -> State:
    """The state that follows. Raises IllegalTransition."""
    try:
        return TRANSITIONS[state, given]
    except KeyError:
        raise IllegalTransition(state, given) from None


def target(given: Input) -> State:
    """The state that an input leads to, wherever it is taken."""
    return next(state for (_, taken), state in TRANSITIONS.items() if taken is given)


def sources(given: Input) -> tuple[State, ...]:
    """The states that take an input: what a guarded UPDATE may leave."""
    return tuple(state for state, taken in TRANSITIONS if taken is given)
