"""Arguments that many doors share: of each its kind and a right value."""

from doors.given import XT, YT, X, Y
from doors.plain import choice, inputs, optional, positive, queries, targets

DATA = {"X": (inputs, X), "y": (targets, Y)}
TEST = {"X_test": (queries, XT), "y_test": (targets, YT)}
OPTIONAL_TEST = {
    "X_test": (optional(queries), XT),
    "y_test": (optional(targets), YT),
}
T = {"temperature": (positive, 0.1)}
SOLVER = {"solver": (choice, "auto")}
TREND = {"trend": (choice, "zero")}
