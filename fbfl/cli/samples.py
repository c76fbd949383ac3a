"""Samples named by `--data`, or by `--dataset` and `--share`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fbfl.cli.parser import Parser
from fbfl.cli.settings import taken
from fbfl.errors import InvalidInputError

if TYPE_CHECKING:
    from fbfl.learning.datasets import Dataset
    from fbfl.learning.partition import Indices
    from fbfl.mec.samples import Array


def add_samples(command: Parser) -> argparse._MutuallyExclusiveGroup:
    """Add `--data` and `--dataset`, which `own_samples` reads; return their group, of which one must be given."""
    data = command.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", type=Path, metavar="FILE", help="samples: .npz with x_train and y_train")
    data.add_argument("--dataset", help="or a share of a data set, as of fbfl run")
    return data


def own_samples(
    options: argparse.Namespace, part: "Callable[[Dataset, int, int], Indices]", num_classes: int | None
) -> "tuple[Array, Array]":
    """Return samples x [n, ...] and labels y [n]; `part` selects share I/N of a data set from (data set, I, N).

    `num_classes` is the number of classes, 0 where labels are numbers, None if it is not known.
    """
    from fbfl.learning import datasets

    if options.data is not None:
        refuse_share(options)
        return datasets.load_samples(options.data, num_classes)
    if options.share is None:
        raise InvalidInputError(f"--dataset {options.dataset}: needs --share I/N, one of N parts, from 0")
    number, count = share_of(options.share)
    dataset = datasets.load(options.dataset, taken(options, "dataset_args"), num_classes=num_classes)
    share = part(dataset, number, count)
    return dataset.x_train[share], np.asarray(dataset.y_train[share])


def share_of(word: str) -> tuple[int, int]:
    """Return I and N of a share I/N."""
    number, _, count = word.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise InvalidInputError(f"--share {word}; allowed: I/N with I from 0 to N-1")
    return int(number), int(count)


def refuse_share(options: argparse.Namespace) -> None:
    """Refuse `--share` if the samples do not come from a data set."""
    if options.share is not None:
        raise InvalidInputError(f"--share {options.share}; allowed: only with --dataset, or --app of fbfl mec")
