"""What the pages share: one file that holds all it needs, opens without a network, and speaks every language we have.

What a page says travels as JSON in an element that no browser runs; whatever comes from outside is set as text by the
page's code, never as markup. Only the very code of the page may run, and nothing is loaded or sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from renewals.reports.words import MESSAGES, Messages

VEGA_SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-interpreter.js")
SHARED_KEY_PATTERN = r"page\.(language|light|dark|in_numbers|to_list|to_scorecard)$"
"""The words that the code of every page asks for."""
CLOSING_MARKUP = re.compile(r"<!--|</?(script|style)", re.IGNORECASE)
"""What would end the element that code stands in, or hide its end."""


def render_offline_page(
    name: str,
    title: str,
    language: str,
    payload: Any,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    linked_page: str = "",
    notices: Sequence[Mapping[str, str]] = (),
) -> bytes:
    """The bytes of the page `name`: its template, its code and style, what is vendored, and what its code reads.

    `linked_page` is the page that it links to, where that lies in the same folder. `notices` stand above everything,
    each given in every language; they are markup and need no script. The same values give the same bytes.
    """
    code = [
        *map(load_vendored_code, (*scripts, *VEGA_SCRIPTS)),
        load_page_code("offline.js"),
        load_page_code(f"{name}.js"),
    ]
    dress = [*map(load_vendored_code, styles), load_page_code("offline.css"), load_page_code(f"{name}.css")]
    shelf = Environment(
        loader=PackageLoader("renewals.reports.html"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return shelf.get_template(f"{name}.html").render(
        language=language_tag(language),
        title=title,
        beside=linked_page,
        notices=[(language_tag(own), [notice[own] for notice in notices]) for own in MESSAGES] if notices else [],
        no_script=[Messages(language).text("page.no_script") for language in MESSAGES],
        policy=content_security_policy(code, dress),
        styles=[Markup(style) for style in dress],
        scripts=[Markup(script) for script in code],
        payload=Markup(html_safe_json(payload)),
    ).encode()  # fmt: skip


def language_tag(language: str) -> str:
    """The language as an element names it."""
    return {"zh": "zh-Hans"}.get(language, language)


def html_safe_json(values: Any) -> str:
    """JSON that nothing within can leave: no letter that markup, or an older script, gives a meaning to."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


@cache
def load_vendored_code(name: str) -> str:
    """Code of others, as it may stand within an element."""
    code = (files("renewals.reports.html.vendor") / name).read_text("utf-8")
    return embeddable_code(_convert_to_script(code) if name == "vega-interpreter.js" else code)


def _convert_to_script(module: str) -> str:
    """The interpreter of expressions, which comes as a module alone, as a script beside Vega's own."""
    taken, body = module.split("from 'vega-util';\n", 1)
    body, given = body.split("export { expression as expressionInterpreter };", 1)
    if "import" in body or "export" in given:
        raise ValueError("vega-interpreter.js is not the module that it was")
    names = taken.replace("import", "const")
    return f"const expressionInterpreter = (() => {{{names}= vega;\n{body}return expression;}})();"


@cache
def load_page_code(name: str) -> str:
    """Code of ours, as it may stand within an element."""
    return embeddable_code((files("renewals.reports.html") / "templates" / name).read_text("utf-8"))


def embeddable_code(code: str) -> str:
    """Code that may stand within an element. Raises ValueError where it would end it."""
    code = re.sub(r"(//|/\*)# sourceMappingURL=[\w.-]+( \*/)?", "", code)
    if found := CLOSING_MARKUP.search(code):
        raise ValueError(f"code that is to stand within a page holds {found.group()!r}")
    return code


def content_security_policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """Nothing is loaded, nothing sent, and only the very code of this page runs."""
    allowed = {"script-src": scripts, "style-src": styles}
    rules = [f"{kind} {' '.join(map(_csp_hash, code))}" for kind, code in allowed.items()]
    return "; ".join(["default-src 'none'", *rules, "img-src data:", "base-uri 'none'", "form-action 'none'"])


def _csp_hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
