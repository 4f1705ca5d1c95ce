"""Learning tasks by name, bundled, from image files or synthetic, and from tables of one's own."""

from stpbnn.datasets.files import home as home
from stpbnn.datasets.loading import load
from stpbnn.datasets.own import Task, load_table
from stpbnn.datasets.preparation import Category as Category
from stpbnn.datasets.preparation import Number as Number
from stpbnn.datasets.preparation import Preparation
from stpbnn.datasets.reading import read_table
from stpbnn.datasets.registry import Description, describe, names
from stpbnn.datasets.registry import look_up as look_up

__all__ = ["Description", "Preparation", "Task", "describe", "load", "load_table", "names", "read_table"]
