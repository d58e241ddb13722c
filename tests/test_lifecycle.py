"""The table of a job's life, and nothing beside it."""

from __future__ import annotations

import pytest

from vcompose.jobs.lifecycle import ENDED, LIVE, TRANSITIONS, IllegalTransition, Input, State, after, sources, target

LEGAL = {
    ("pending", "start", "processing"),
    ("pending", "cancel", "cancelled"),
    ("processing", "finish", "completed"),
    ("processing", "fail", "failed"),
    ("processing", "cancel", "cancelled"),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("given", Input)
def test_every_pair(state: State, given: Input) -> None:
    wanted = {to for from_, taken, to in LEGAL if (from_, taken) == (state, given)}
    if wanted:
        assert {after(state, given)} == wanted == {target(given)}
        assert state in sources(given)
        return
    with pytest.raises(IllegalTransition) as caught:
        after(state, given)
    assert (caught.value.state, caught.value.given) == (state, given)
    assert state not in sources(given)


def test_an_end_is_an_end() -> None:
    assert len(TRANSITIONS) == len(LEGAL)
    assert {State.COMPLETED, State.FAILED, State.CANCELLED} == ENDED
    assert {State.PENDING, State.PROCESSING} == LIVE
    assert all(len({to for (_, taken), to in TRANSITIONS.items() if taken is given}) == 1 for given in Input)
