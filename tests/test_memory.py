import subprocess
import sys
from pathlib import Path

import pytest

from stpbnn import _memory


def _meminfo(name):
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="Linux tells its memory there")
def test_what_is_available_lies_within_the_memory_of_the_machine():
    assert 2**20 < _memory.available() <= _meminfo("MemTotal")


def test_a_limit_of_the_address_space_counts():
    pytest.importorskip("resource")
    program = (
        "import resource; from stpbnn import _memory;"
        f"resource.setrlimit(resource.RLIMIT_AS, ({3 * 2**28}, resource.RLIM_INFINITY));"
        "assert _memory.available() == 3 * 2**28"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"job/step/memory.max": "max", "job/memory.max": "4194304", "memory.max": "8388608"}, 2**22),
        (
            {"memory/job/step/memory.limit_in_bytes": "2097152", "memory/memory.limit_in_bytes": "9223372036854771712"},
            2**21,
        ),
    ],
)
def test_the_limits_of_control_groups_count(tmp_path, monkeypatch, files, limit):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    membership = tmp_path / "membership"
    membership.write_text("12:memory:/job/step\n3:cpu,cpuacct:/other\n0::/job/step\n")
    monkeypatch.setattr(_memory, "GROUPS", tmp_path)
    monkeypatch.setattr(_memory, "MEMBERSHIP", membership)
    assert _memory.available() == limit


@pytest.mark.parametrize("needed", [2**60, 10**30, 10**400])
def test_more_than_there_is_is_refused_with_both_sizes_in_one_line(needed):
    with pytest.raises(
        ValueError, match=r"^draws: got 5, whose records take .*, and .* are free here; draw less$"
    ) as e:
        _memory.refuse_beyond(needed, "draws: got 5, whose records", "draw less")
    assert "\n" not in str(e.value)


def test_little_is_not_refused():
    _memory.refuse_beyond(2**20, "draws: got 5, whose records", "draw less")
