"""HTML elements of the console. Text is escaped unless it is Markup."""

from collections.abc import Iterable
from html import escape

_STYLE = """
:root { color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 110rem; padding: 0 1rem 3rem; }
header { border-bottom: 3px solid #ff6a00; margin-bottom: 1rem; padding: .6rem 0; }
h1 { font-size: 1.3rem; margin: 0; } h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .25rem .5rem; text-align: left; vertical-align: top; }
td, th { white-space: nowrap; } .long { min-width: 15rem; overflow-wrap: anywhere; white-space: normal; }
section { overflow-x: auto; }
.number { text-align: right; } .refused { background: #d003; } .dropped { background: #d803; }
.note, .none { opacity: .75; } form { display: inline; } fieldset { border: 1px solid #8886; display: inline-block; }
nav a { margin-right: 1rem; } input[type=number] { width: 6rem; } progress { width: 6rem; }
"""


MAX_UNBROKEN_CHARS = 36  # an image id


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


Cell = Markup | str | int


def text(value: object) -> Markup:
    """Return a value as HTML: Markup unchanged, everything else escaped."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def join(*parts: object) -> Markup:
    """Return the concatenation of parts."""
    return Markup("".join(map(text, parts)))


def element(tag: str, /, *content: object, **attributes: object) -> Markup:
    """Return an element. The attribute `kind` is written as `class`; one with the value None or False is omitted."""
    given = "".join(
        f" {'class' if key == 'kind' else key}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{tag}{given}>{join(*content)}</{tag}>")


def field(name: str, **attributes: object) -> Markup:
    """Return an input element, which has no content and no end tag."""
    return Markup(element("input", name=name, **attributes).removesuffix("</input>"))


def table(head: tuple[str, ...], rows: Iterable[tuple[Cell, ...]], *, none: str, kinds: Iterable[str] = ()) -> Markup:
    """Return a table, or the text `none` if there are no rows. `kinds` are the classes of the rows."""
    lines, classes = list(rows), list(kinds)
    if not lines:
        return element("p", none, kind="none")
    names = (
        element("th", name, kind="number" if isinstance(cell, int) else None)
        for name, cell in zip(head, lines[0], strict=True)
    )
    body = (
        element(
            "tr", *(element("td", cell, kind=_kind(cell)) for cell in line), kind=classes[index] if classes else None
        )
        for index, line in enumerate(lines)
    )
    return element("table", element("thead", element("tr", *names)), element("tbody", *body))


def _kind(cell: Cell) -> str | None:
    """Return the class of a cell. Long texts are wrapped, so that they do not widen the column."""
    if isinstance(cell, int):
        return "number"
    return "long" if not isinstance(cell, Markup) and len(cell) > MAX_UNBROKEN_CHARS else None


def select(name: str, values: Iterable[str], *, chosen: str) -> Markup:
    """Return a drop-down list of values."""
    return element("select", *(element("option", each, selected=each == chosen) for each in values), name=name)


def button(action: str, label: str, **values: object) -> Markup:
    """Return a form with one button, which posts an action with hidden values to the page."""
    hidden = (field(name, type="hidden", value=value) for name, value in {"action": action, **values}.items())
    return element("form", *hidden, element("button", label), method="post")


def document(title: str, *body: object, refresh_s: int = 0) -> bytes:
    """Return a complete page."""
    head = [Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width">')]
    if refresh_s:
        head.append(Markup(f'<meta http-equiv="refresh" content="{refresh_s}">'))
    page = element("html", element("head", *head, element("title", title), element("style", Markup(_STYLE))),
                   element("body", *body), lang="en")  # fmt: skip
    return f"<!DOCTYPE html>\n{page}\n".encode(errors="replace")
