"""What a run does beside its theories."""

from threading import Event

import pytest

from stpbnn.runs.stages import compiled_meanwhile


def test_a_refusal_does_not_wait_for_what_is_being_compiled():
    begun, ended, finished = Event(), Event(), []

    class Program:
        def compile(self):
            begun.set()
            finished.append(ended.wait(20))

    class Chains:
        def lowered(self):
            return [Program()]

    def refused():
        with compiled_meanwhile(Chains()):
            assert begun.wait(20)
            raise ValueError("no theory")

    with pytest.raises(ValueError, match="no theory"):
        refused()
    assert not finished  # it goes on until the line below
    ended.set()
