import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning import plugins


def scale(data, factor: float, *, offset: int = 0, mode: str | None = None, seed=None):
    return [value * factor + offset for value in data], mode, seed


def anything(data, **settings):
    return data, settings


TABLE = {"scale": scale}


def find(name, context=("seed", "unused"), **settings):
    return plugins.resolve("thing", name, TABLE, settings, data=1, context=context)


def test_a_plugin_gets_its_settings_and_what_it_wants_of_the_context():
    plugin = find("scale", factor=2)
    assert plugin.wants == {"seed"}
    assert plugin([1, 2], seed=9, unused=1) == ([2, 4], None, 9)
    assert find("scale", factor=2, seed=4)([1], seed=9) == ([2], None, 4), "a setting wins over the context"
    assert find(f"{__name__}:scale", factor=0.5, mode=None)([2]) == ([1.0], None, None)
    assert find(anything, x=1)([2]) == ([2], {"x": 1})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("scales", {}, r"thing 'scales': must be one of scale, or package.module:function"),
        ("scale", {}, "thing scale: needs factor; its settings are: factor, offset, mode"),
        ("scale", {"factor": 1.0, "of": 1}, "does not take 'of'; allowed: factor, offset, mode"),
        ("scale", {"factor": "x"}, "factor = 'x': must be of type float"),
        ("scale", {"factor": True}, "factor = True: must be of type float"),
        ("scale", {"factor": 1, "offset": 1.5}, "offset = 1.5: must be of type int"),
        ("scale", {"factor": 1, "mode": 3}, "mode = 3: must be of type str"),
        ("no.such.module:f", {}, "cannot import 'no.such.module'"),
        ("math:no_such", {}, "module math has no function 'no_such'"),
        ("math:pi", {}, "has no function 'pi'"),
        (":f", {}, "cannot import ''"),
        ("builtins:type", {}, "parameters can be read"),
    ],
)
def test_what_is_wrong_is_named(name, settings, message):
    with pytest.raises(InvalidInputError, match=message):
        find(name, **settings)


def test_settings_of_a_command_line():
    words = ["a=1", "b=0.5", "c=True", "d=text", "e=(1, 2)", "f=a=b", "g=", "h=None"]
    assert plugins.parse_settings(words) == {
        "a": 1, "b": 0.5, "c": True, "d": "text", "e": (1, 2), "f": "a=b", "g": "", "h": None,
    }  # fmt: skip
    for bad in (["a"], ["=1"], ["1a=1"], ["a=1", "a=2"]):
        with pytest.raises(InvalidInputError, match=r"KEY=VALUE|twice"):
            plugins.parse_settings(bad)
