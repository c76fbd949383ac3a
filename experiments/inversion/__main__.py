"""What a public update gives away: pictures read off updates of MNIST, beside the originals.

    python -m experiments.inversion

A server trains the model `mlp` from its initial weights, as in the first round, and its update goes through a payload.
Whoever fetches that reads the samples off it by `fbfl.learning.inversion`. Writes inversion.csv, inversion.png and
RESULTS.md beside this file. FBFL_DATA names the folder of mnist.npz.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fbfl.learning import datasets, trainer
from fbfl.learning.inversion import inverted, nearest
from fbfl.learning.training import Purpose, TrainingSettings
from fbfl.randomness import generator
from fbfl.storage.codecs import decode_update, encode_update
from fbfl.system import canvas
from fbfl.system.atomic import write_atomically

FOLDER = Path(__file__).parent
SAMPLES = 128
SHOWN = 8
RECOVERED = 0.95
"""Correlation with the original from which a picture counts as read."""
Pictures = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Variant:
    """How a server trains and what it does to its update."""

    label: str
    samples: int = 1
    """Samples of the server."""
    batch_size: int | None = None
    """Samples of a step; None: all of them."""
    epochs: int = 1
    optimizer: str = "sgd"
    noise: float = 0.0
    """Length of Gaussian noise on the update, in lengths of the update."""
    codec: str = "float32"


VARIANTS = (
    Variant("1 sample"),
    Variant("8 samples", 8),
    Variant("32 samples", 32),
    Variant("128 samples", 128),
    Variant("32 samples, 4 steps", 32, batch_size=8),
    Variant("32 samples, 20 epochs", 32, epochs=20),
    Variant("1 sample, Adam", optimizer="adam"),
    Variant("1 sample, int8", codec="int8"),
    Variant("1 sample, noise 0.1", noise=0.1),
    Variant("1 sample, noise 1", noise=1.0),
    Variant("1 sample, noise 10", noise=10.0),
)


def read_off(variant: Variant, x: Pictures, y: npt.NDArray[np.integer]) -> tuple[Pictures, npt.NDArray[np.float64]]:
    """Return the picture most like each sample, [n, h, w], and their correlations [n]; servers share x and y."""
    settings = TrainingSettings(variant.epochs, variant.batch_size or variant.samples, variant.optimizer)
    purpose = Purpose("mlp", settings, x.shape[1:], 10, 0)
    trains = trainer.make("keras", {}, purpose, lanes=1)
    servers = range(len(x) // variant.samples)
    parts = [slice(server * variant.samples, (server + 1) * variant.samples) for server in servers]
    updates = trains.train(
        trains.initial_weights(), [(x[part], y[part]) for part in parts], round_number=1, client_ids=[*servers]
    )
    pictures, correlations = [], []
    for server, part, update in zip(servers, parts, updates, strict=True):
        noise = generator(0, "inversion", server=server).standard_normal(update.size)
        strength = variant.noise * np.linalg.norm(update) / np.linalg.norm(noise)
        sent = encode_update(variant.codec, trains.spec, (update + strength * noise).astype(np.float32))
        kernel, bias, *_ = trains.spec.unflatten(decode_update(variant.codec, trains.spec, sent))
        candidates = inverted(kernel, bias)
        best, alike = nearest(candidates, x[part].reshape(variant.samples, -1))
        pictures.append(candidates[best].reshape(x[part].shape))
        correlations.append(alike)
    return np.concatenate(pictures).astype(np.float32), np.concatenate(correlations)


def draw(originals: Pictures, rows: Sequence[tuple[str, Pictures]], path: Path) -> None:
    """Draw the originals, and below them a row of pictures for each variant."""
    with canvas.blank() as figure:
        lines = [("original", originals), *rows]
        figure.set_size_inches(2.2 + 0.62 * len(originals), 0.62 * len(lines))
        axes = figure.subplots(len(lines), len(originals))
        for line, (label, pictures) in zip(axes, lines, strict=True):
            line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
            for place, picture in zip(line, pictures, strict=True):
                place.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
                place.set_xticks([])
                place.set_yticks([])
        canvas.save(figure, path)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV."""
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def table(rows: Sequence[dict[str, str]]) -> bytes:
    """Return the rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def report(rows: Sequence[dict[str, str]]) -> str:
    """Return RESULTS.md."""
    lines = [_HEAD, "| update of | mean correlation | read |", "|---|---|---|"]
    lines += [f"| {row['update']} | {row['correlation']} | {row['read']} |" for row in rows]
    return "\n".join([*lines, "", _TAIL])


def main() -> None:
    """Invert all variants, and write the table, the picture and the report."""
    data = datasets.load("mnist")
    x = (data.x_test[:SAMPLES] / np.float32(255)).astype(np.float32)
    rows, shown = [], []
    for variant in VARIANTS:
        pictures, correlations = read_off(variant, x, data.y_test[:SAMPLES])
        shown.append((variant.label, pictures[:SHOWN]))
        rows.append(
            {
                "update": variant.label,
                "correlation": f"{correlations.mean():.3f}",
                "read": f"{(correlations >= RECOVERED).mean():.2f}",
            }
        )
        print(*rows[-1].values(), flush=True)
    draw(x[:SHOWN], shown, FOLDER / "inversion.png")
    write_atomically(FOLDER / "inversion.csv", table(rows))
    write_atomically(FOLDER / "RESULTS.md", report(rows).encode())


_HEAD = f"""# What a public update gives away

Written by `python -m experiments.inversion`. Updates of the model `mlp` from its initial weights, with plain SGD where
not said otherwise; {SAMPLES} test pictures of MNIST, dealt to servers with as many samples as the table says. Every
unit of the first layer gives a candidate, its change divided by that of its bias; set beside an original is the one
most like it. "Read" is the share of the samples with a correlation of at least {RECOVERED}.

![Originals, and what was read off the updates](inversion.png)
"""

_TAIL = """- **One sample** is read to the pixel, whatever the learning rate. A payload of `int8` changes nothing.
- **Larger batches** mix: a unit shows the mean of all samples that have switched it on. Of 8 samples nearly all are
  read, each off a unit that it alone has switched on; of 32 one in seven, of 128 next to none, and what comes out looks
  like a mean digit: it tells of the classes.
- **Local steps** hide little beyond that: four steps on 8 samples each, or twenty epochs, leave about what one step on
  all 32 does.
- **Adam** divides every change by its own size. Its first step keeps the signs alone, so that the outline of the digit
  stays, and its grey does not.
- **Noise** on the update has to be far longer than the update: it spreads over 101,770 weights, and the unit that
  changed most stands out of it. As long as the update itself, it leaves every digit readable; ten times as long,
  hardly one. Noise of that length is what an average over many servers has to bear: differential privacy is that trade.
- **Encryption**: fbfl does not encrypt payloads. An encrypted one has no tensors to whoever lacks the key, so there is
  nothing to divide; members that aggregate have the key, and see what the table says. Masks that cancel in the sum
  (secure aggregation) leave the sum alone to read, which is a batch of all samples together.

Which candidate is of use, whoever has no originals has to find out by looking: the figures are those of a reader that
errs nowhere. A model whose first layer is a convolution has no such layer at the pixels; gradients of those are matched
by search (Geiping et al. 2020), which is not done here.
"""


if __name__ == "__main__":
    main()
