"""The application that serves the pages."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import jinja2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fbfl.cli import tables
from fbfl.dashboard.guard import Guard
from fbfl.dashboard.jobs import Job, Jobs
from fbfl.dashboard.pages.audit import audit
from fbfl.dashboard.pages.compare import compare
from fbfl.dashboard.pages.map import area
from fbfl.dashboard.pages.overview import overview
from fbfl.dashboard.pages.rounds import one_round, rounds
from fbfl.dashboard.pages.servers import servers
from fbfl.dashboard.pages.updates import updates
from fbfl.dashboard.pages.view import View
from fbfl.dashboard.sources import Source
from fbfl.errors import FbflError, InvalidInputError
from fbfl.system.printable import printable

Page = Callable[[View], Mapping[str, Any]]

PAGES: Mapping[str, tuple[str, Page]] = {
    "/": ("overview", overview),
    "/rounds": ("rounds", rounds),
    "/round/{round:int}": ("round", one_round),
    "/servers": ("servers", servers),
    "/updates/{round:int}": ("updates", updates),
    "/map": ("map", area),
    "/audit": ("audit", audit),
    "/compare": ("compare", compare),
}
"""Template and function by path."""

MENU = tuple((path, path[1:] or "overview") for path in PAGES if "{" not in path)
"""Path and name of the pages that every page links to."""

LIVE_SECONDS, STILL_SECONDS = 1.0, 0.0
"""Seconds after which a page looks for news, while a task goes on and afterwards (0: never)."""


def application(sources: Sequence[Source], jobs: Jobs, port: int) -> Starlette:
    """Return the application for these sources, at least one, on this port."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("fbfl.dashboard"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"short": tables.short, "setting": tables.setting, "number": _number, "ether": _ether}

    def route(path: str, template: str, page: Page) -> Route:
        def answer(request: Request) -> Response:
            return _answer(templates, sources, jobs, request, template, page)

        return Route(path, answer)

    def audited(request: Request) -> Response:
        arguments = dict(request.query_params)
        try:
            place = _place(arguments, len(sources))
        except InvalidInputError as error:
            return PlainTextResponse(f"{error}\n", 404)
        jobs.again("audit", sources[place].where)
        return RedirectResponse("/audit" + (f"?run={place}" if place else ""), 303)

    return Starlette(
        routes=[
            Route("/audit", audited, methods=["POST"]),
            *(route(path, template, page) for path, (template, page) in PAGES.items()),
            Mount("/static", StaticFiles(packages=[("fbfl.dashboard", "static")])),
        ],
        middleware=[Middleware(Guard, port=port)],
    )


def _answer(
    templates: jinja2.Environment, sources: Sequence[Source], jobs: Jobs, request: Request, template: str, page: Page
) -> Response:
    arguments = dict(request.query_params)
    place, status = 0, 200
    try:
        place = _place(arguments, len(sources))
        view = View(sources, place, jobs, arguments, request.path_params.get("round", 0))
        shown = dict(page(view))
    except FbflError as error:
        status = 404 if isinstance(error, InvalidInputError) else 500
        template, shown = "error", {"problem": str(error)}

    def link(path: str, **changed: Any) -> str:
        """Return the address of a page for the same source."""
        named = {**({"run": place} if place else {}), **changed}
        return path + ("?" + urlencode(named) if named else "")

    body = templates.get_template(f"{template}.html").render(
        shown,
        link=link,
        here=request.url.path,
        menu=MENU,
        sources=sources,
        place=place,
        source=sources[place],
        every=LIVE_SECONDS if _is_live(shown, sources[place]) else STILL_SECONDS,
    )
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-store"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers, media_type="text/html")


def _finalized(value: object) -> object:
    """Return what a template writes: texts by others turn no line around, and hide nothing."""
    return printable(value) if type(value) is str else value


def _is_live(shown: Mapping[str, Any], source: Source) -> bool:
    """Return True if there may be news: the task goes on, or a job of the page does."""
    return source.goes_on or any(isinstance(each, Job) and not each.done for each in shown.values())


def _place(arguments: Mapping[str, str], count: int) -> int:
    text = arguments.get("run", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) >= count:
        raise InvalidInputError(f"run is {text[:60]!r}; allowed: 0 to {count - 1}")
    return int(text)


_UNREADABLE = 10**30
"""Above all that a round can cost."""


def _number(value: object, digits: int | None = None) -> str:
    """Return a number as text: whole ones with commas, others with so many digits; a dash for none."""
    if isinstance(value, float) and math.isfinite(value) and (digits is not None or not value.is_integer()):
        return f"{value:.{4 if digits is None else digits}f}"
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _UNREADABLE:
        return f"{int(value):,}"
    return "-"


def _ether(wei: int | None) -> str:
    return "-" if wei is None else f"{wei / 10**18:.4g}"
