"""Text of users in the report, as an independent reader of Markdown sees it."""

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fbfl.experiments.markdown import code, plain

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXTS = st.text(st.sampled_from("ab1 \n|\\`*_[]()<>&;#!~$\"'/-x")).filter(str.strip)


def cell(markdown: str) -> list[tuple[str, str]]:
    """Return kind and content of the first of two cells of a table."""
    tokens = READER.parse(f"| a | b |\n|---|---|\n| {markdown} | second |\n")
    inline = [token for token in tokens if token.type == "inline"]
    assert [inline[0].content, inline[1].content, inline[3].content] == ["a", "b", "second"]
    return [(token.type, token.content) for token in inline[2].children or ()]


@given(TEXTS)
@example("<b>a</b>, [x](y), *i*, `c`, ~~s~~, ![i](u), &lt; | \\")
def test_nothing_in_a_text_is_markup(text: str) -> None:
    assert cell(plain(text)) == [("text", " ".join(text.split()))]


def test_a_formula_is_none_either() -> None:
    assert plain("$a_1$ costs $5") == r"\$a_1\$ costs \$5"


@given(TEXTS.filter(lambda text: "|" not in text))
@example("``a`")
def test_nothing_in_code_ends_it(text: str) -> None:
    assert cell(code(text)) == [("code_inline", " ".join(text.split()))]
