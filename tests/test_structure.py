"""The structure of the package, read from its sources: the order of its rooms, their faces, sizes and names.

A room is a sub-package or a module at the top. An import counts wherever it stands: at the top of a module, inside a
function, or for type checkers alone. Each list of exceptions may only shrink: an entry that is not needed fails too.
"""

import ast
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 300

CIRCLES = {("stpbnn.cards.schema", "stpbnn.cards.limits")}


def modules():
    """Return the path of every module of the package, by its dotted name."""
    names = {path: path.relative_to(ROOT).with_suffix("").parts for path in sorted(ROOT.glob("stpbnn/**/*.py"))}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


MODULES = modules()


def room(module):
    """Return the room of a module: its sub-package, or the module at the top; stpbnn is the face of all."""
    return ".".join(module.split(".")[1:2]) or "stpbnn"


def imports(module):
    """Return the modules that a module imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & MODULES.keys()
            if inner - MODULES.keys():
                found.add(node.module)
    return found & MODULES.keys()


ARROWS = {(module, target) for module in MODULES for target in imports(module)}


def order():
    """Return the rooms in the order that CONTRIBUTING.md gives."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    block = re.search(r"A room imports\nonly from those before it:\n\n((?:    .*\n)+)", text)[1]
    return re.findall(r"\w+", block)


def test_contributing_names_every_room_once():
    assert sorted(order()) == sorted({room(module) for module in MODULES})


def test_no_room_imports_one_above_it():
    floor = {name: number for number, name in enumerate(order())}
    upward = {(one, other) for one, other in ARROWS if floor[room(other)] > floor[room(one)]}
    assert not upward


def test_no_modules_import_one_another_in_a_circle():
    graph = {module: set() for module in MODULES}
    for one, other in ARROWS - CIRCLES:
        graph[one].add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None
    assert all((other, one) in ARROWS for one, other in CIRCLES)


def test_a_room_is_entered_through_its_face():
    """A module imports a neighbour of its own package, or of a package around it, never what lies inside of one."""

    def past(module, target):
        inside = module.split(".") if MODULES[module].stem == "__init__" else module.split(".")[:-1]
        path = target.split(".")
        while inside and path and inside[0] == path[0]:
            inside, path = inside[1:], path[1:]
        return len(path) > 1 and not offered(target)

    def offered(target):
        """Return whether the face of a package names a module of it: `from stpbnn.cards import code`."""
        face, _, name = target.rpartition(".")
        text = MODULES[face].read_text("utf-8")
        return f'    "{name}",\n' in text or f"from {face} import {name} as {name}\n" in text

    assert not {arrow for arrow in ARROWS if past(*arrow)}


def test_no_module_is_longer_than_a_reader_likes():
    long = {name for name, path in MODULES.items() if len(path.read_text("utf-8").splitlines()) > LONGEST}
    assert not long


def test_no_two_modules_share_a_name():
    """A folder and a module beside it would share one too; every folder has a face."""
    count = Counter(name.rpartition(".")[2] for name in MODULES)
    assert not {name for name, times in count.items() if times > 1}


def test_what_the_suite_names_is_there():
    """Examples that are `long`, and places whose programs are compiled plainly, are lists of names in conftest."""
    source = (ROOT / "tests/conftest.py").read_text("utf-8")
    places, examples = (
        " ".join(re.findall(rf'^{name} \+?= "(.*)"', source, re.MULTILINE)).split()
        for name in ("SHORT_CHAINS", "LONG_EXAMPLES")
    )
    assert places
    assert examples
    for place in places:
        assert (ROOT / "tests" / place).is_dir() or (ROOT / "tests" / f"{place}.py").is_file(), place
    for example in examples:
        module, name = example.split(".")
        (source,) = (path for path in MODULES.values() if path.stem == module)
        assert re.search(rf"^(def|class) {name}\b", source.read_text("utf-8"), re.MULTILINE), example
