"""Doors of runs, sweeps, cards and data sets."""

from functools import cache, partial

from doors.given import NET, XT, YT, X, Y, finished, house, smoke
from doors.plain import (
    booleans,
    choice,
    class_lists,
    integers,
    label_lists,
    none_too,
    numbers_of_any_shape,
    optional,
    positive,
    queries,
    seed,
    sizes,
    swept_numbers,
    swept_widths,
    text,
    without,
)
from doors.things import (
    a_column,
    card,
    card_name,
    card_or_network,
    columns,
    columns_or_none,
    data_set,
    existing,
    existing_or_new,
    four,
    frames,
    home,
    names_of_theories,
    optional_columns,
    overrides,
    overs,
    path,
    task,
)

import stpbnn
from stpbnn import cards, curves, datasets, runs, sweeps, theories


@cache
def doors():
    """Return the table of them."""
    of_own_data = {"card_or_network": (card_or_network, NET), "data": (four, (X, Y, XT, YT))}
    of_own_data |= {"progress": (booleans, False), "allow_code": (booleans, False)}
    of_own_data |= {"settings": (lambda v: {"unknown": 1.0}, None)}
    of_text = {"separator": (optional(text), None), "decimal": (optional(choice), None)}
    of_text |= {"encoding": (optional(text), None)}
    prepared = datasets.load_table(house(), "price").preparation
    return {
        "run": (
            partial(stpbnn.run, temperature=0.1, warmup=1, draws=4, chains=1),
            of_own_data | {"folder": (existing_or_new, "run")},
        ),
        "sweep": (
            partial(stpbnn.sweep, temperature=0.1, warmup=1, draws=4, chains=1),
            of_own_data
            | {"widths": (swept_widths, [5]), "temperatures": (swept_numbers, None), "train": (sizes, None)}
            | {"over": (overs, None), "folder": (existing_or_new, "swept"), "sample": (booleans, True)}
            | {"workers": (integers, 1), "scheduler": (optional(text), None), "many": (booleans, False)},
        ),
        "load_run": (stpbnn.load_run, {"folder": (existing, "nowhere"), "allow_code": (booleans, False)}),
        "curves.theory_curves": (
            curves.theory_curves,
            {
                "card": (card, smoke().model_copy(update={"sweep": {"network.widths": ([5], [6])}})),
                "data": (task, None),
                "progress": (booleans, False),
            },
        ),
        "cards.is_table": (cards.is_table, {"path": (partial(without, path, "absent"), "house.csv")}),
        "cards.load_card": (
            cards.load_card,
            {"card": (card_name, "smoke-1hl-linear"), "overrides": (overrides, ()), "allow_code": (booleans, False)},
        ),
        "cards.attributed": (
            lambda **given: cards.attributed(**given).__enter__(),  # which reads no card
            {"card": (partial(without, card_name, "absent"), "smoke"), "overrides": (overrides, ())},
        ),
        "cards.Data.load": (smoke().data.load, {"classes": (booleans, False)}),
        "cards.Card.load": (smoke().load, {"data": (four, None), "sampled": (booleans, False)}),
        "cards.points": (cards.points, {"card": (card, smoke())}),
        "datasets.describe": (datasets.describe, {"data_home": (home, None)}),
        "datasets.load": (
            datasets.load,
            {"name": (choice, "digits"), "classes": (class_lists, (0, 1)), "train": (optional(integers), 10)}
            | {"test": (optional(integers), 5), "size": (optional(integers), 64), "labels": (label_lists, (-1.0, 1.0))}
            | {"standardize": (optional(choice), "auto"), "seed": (optional(integers), 0), "data_home": (home, None)}
            | {"noise": (optional(positive), None), "hidden_width": (optional(integers), None)},
        ),
        "datasets.load_table": (
            datasets.load_table,
            {"file": (frames, house()), "target": (columns, "price"), "features": (optional_columns, None)}
            | {"drop": (columns_or_none, ()), "train": (optional(integers), None), "test": (optional(positive), None)}
            | {"test_file": (optional(frames), None), "split": (a_column, None)}
            | {"seed": (partial(without, seed, "beyond double"), None)}
            | {"missing": (choice, "refuse"), "standardize": (optional(choice), None)}
            | {"normalize_target": (booleans, True), "classes": (booleans, False)}
            | of_text,
        ),
        "datasets.read_table": (
            datasets.read_table,
            {"path": (partial(without, path, "absent"), "nowhere.csv")} | of_text,
        ),
        "datasets.Task.first": (datasets.Task(X, Y, XT, YT).first, {"train": (optional(integers), 3)}),
        "datasets.Preparation.transform": (prepared.transform, {"table": (frames, house())}),
        "datasets.Preparation.transform_targets": (prepared.transform_targets, {"table": (frames, house())}),
        "datasets.Preparation.in_units": (prepared.in_units, {"f": (numbers_of_any_shape, Y)}),
        "datasets.Preparation.spread_in_units": (prepared.spread_in_units, {"spread": (numbers_of_any_shape, Y)}),
        "datasets.Preparation.from_json": (datasets.Preparation.from_json, {"text": (text, prepared.to_json())}),
        "runs.fingerprint": (runs.fingerprint, {"card": (card, smoke()), "data": (none_too(four), (X, Y, XT, YT))}),
        "runs.Run.predict": (
            lambda **given: finished().predict(**given),
            {"X": (queries, XT), "noise": (booleans, False), "theories": (names_of_theories, None)},
        ),
        "runs.rerender": (runs.rerender, {"folder": (existing, "nowhere"), "allow_code": (booleans, False)}),
        "runs.run_card": (
            runs.run_card,
            {"card": (card, smoke()), "folder": (lambda v: {"none": None, "number": 3.5}, "run"), "data": (four, None)}
            | {"progress": (booleans, False)},
        ),
        "sweeps.sweep": (
            sweeps.sweep,
            {
                "card": (card, smoke().model_copy(update={"sweep": {"network.widths": ([5], [6])}})),
                "folder": (lambda v: {"none": None, "number": 3.5}, "swept"),
                "data": (task, None),
                "scheduler": (optional(text), None),
            }
            | {
                "workers": (integers, 1),
                "where": (lambda v: {"text": "a", "number": 3}, None),
                "many": (booleans, False),
            }
            | {"progress": (booleans, False)},
        ),
        "theories.chosen": (theories.chosen, {"card": (card, smoke())}),
        "theories.settings": (theories.settings, {"card": (card, smoke())}),
        "theories.theory": (
            theories.theory,
            {
                "card": (card, smoke()),
                "data": (four, None),
                "known": (optional(data_set), None),
            },
        ),
    }
