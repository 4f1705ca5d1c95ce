from pathlib import Path

import jax
import pytest

from stpbnn import _backend


@pytest.mark.parametrize(("mappings", "forgotten"), [(32_765, False), (32_766, True)])
def test_programs_are_forgotten_before_the_system_ends_the_process(tmp_path, monkeypatch, mappings, forgotten):
    for name, text in {"MAPPINGS": "0-1 r-xp\n" * mappings, "MOST_MAPPINGS": "65530\n"}.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(_backend, name, tmp_path / name)
    program = jax.jit(lambda x: x + 1)
    assert program(1) == 2
    assert _backend.make_room_for_programs() is forgotten
    assert (program._cache_size() == 0) is forgotten
    assert program(1) == 2


def test_a_system_without_mappings_needs_no_room(tmp_path, monkeypatch):
    monkeypatch.setattr(_backend, "MAPPINGS", tmp_path / "none")
    assert not _backend.make_room_for_programs()


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="Linux tells its mappings there")
def test_a_program_that_is_forgotten_leaves_its_mappings():
    def used():
        return len(_backend.MAPPINGS.read_text().splitlines())

    programs = [jax.jit(lambda x, k=k: jax.numpy.sort(x + k)) for k in range(20)]
    before = used()
    for program in programs:
        program(jax.numpy.ones(7)).block_until_ready()
    between = used()
    assert _backend.make_room_for_programs(part=0.0)
    assert before < between
    assert used() < between
