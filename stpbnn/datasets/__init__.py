"""Learning tasks by name, bundled, from image files or synthetic, and from tables of one's own."""

from stpbnn.datasets.column_kinds import Category as Category
from stpbnn.datasets.column_kinds import Number as Number
from stpbnn.datasets.columns import column_kind as column_kind
from stpbnn.datasets.data_folder import fetch_table as fetch_table
from stpbnn.datasets.data_folder import home as home
from stpbnn.datasets.given import given_task as given_task
from stpbnn.datasets.load_named import load
from stpbnn.datasets.named_sets import Description, describe, names
from stpbnn.datasets.named_sets import look_up as look_up
from stpbnn.datasets.own import Task, load_table
from stpbnn.datasets.preparation import Preparation
from stpbnn.datasets.table_files import read_table

__all__ = ["Description", "Preparation", "Task", "describe", "load", "load_table", "names", "read_table"]
