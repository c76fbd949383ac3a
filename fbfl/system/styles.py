"""Lines of the pictures: told apart by dash and marker as well as by colour and lightness, so also in grey."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES = (
    ("#1b3a57", "-", "o"),
    ("#c0562b", "--", "s"),
    ("#4f9a6b", "-.", "^"),
    ("#8a63a8", ":", "D"),
    ("#d49a1f", (0, (5, 1)), "v"),
    ("#5a5a5a", (0, (3, 1, 1, 1)), "P"),
    ("#3fa7c4", (0, (1, 1)), "X"),
    ("#a83a5b", (0, (8, 2)), "*"),
)


def line_style(number: int) -> dict[str, Any]:
    """Return Matplotlib's arguments for the line with a number."""
    colour, line, marker = _STYLES[number % len(_STYLES)]
    return {"color": colour, "linestyle": line, "marker": marker, "markersize": 4.5}


def plain_axes(axes: "Axes") -> None:
    """Draw a light grid, and no frame where there is no axis."""
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def rounds_across(axes: "Axes") -> None:
    """Let the horizontal axis be that of rounds: whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend_below(figure: "Figure", width: float) -> None:
    """Draw one legend for all panels, in as many columns as fit into `width` inches."""
    # Not get_legend_handles_labels, which leaves out names that begin with an underscore.
    drawn: list[Any] = [each for axes in figure.axes for each in axes.containers or axes.lines]
    handles = {str(each.get_label()): each for each in reversed(drawn)}  # of each name the first
    names = list(dict.fromkeys(str(each.get_label()) for each in drawn))
    columns = max(1, int(width / (0.075 * max(map(len, names)) + 0.8)))  # inches: text, and line with gap
    figure.legend(
        [handles[name] for name in names],
        names,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        handlelength=3.6,
    )
