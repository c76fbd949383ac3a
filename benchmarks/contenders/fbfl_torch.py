"""This project, with PyTorch."""

import functools

from rounds import arguments, asked, say
from torch_models import build

from fbfl.learning.federation import Federation


def main() -> None:
    model, clients, test = arguments()
    federation = Federation(clients, test, functools.partial(build, model), trainer="torch")
    say(ready=True)
    while asked():  # a round evaluates, too: its own clocks leave that out, the processor time does not
        (result,) = federation.rounds(1)
        say(seconds=result.train_seconds + result.aggregate_seconds)
        say(accuracy=result.accuracy)


main()
