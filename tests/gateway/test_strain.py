"""Strain: what the event loop's thread did for a while -> is it too much."""

import time
from pathlib import Path

import pytest

from gateway import strain
from gateway.strain import WHILE, Strain


@pytest.mark.parametrize("told_by", [strain.SCHEDULED, Path("/nowhere")])
def test_who_works_all_the_time_is_under_strain_until_there_is_less_to_do(
    told_by: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strain, "SCHEDULED", told_by)
    monkeypatch.setattr(strain, "MUCH", 0.4)
    felt = Strain()
    assert not felt.is_too_much
    end = time.monotonic() + 40 * WHILE  # where other processes let this one work much less than half of it
    while not felt.is_too_much:
        assert time.monotonic() < end
    time.sleep(2 * WHILE)
    assert not felt.is_too_much
