"""Shared parts of the pages: each page is one file that opens without a network and contains every language.

The page's data is JSON in an element that no browser runs. The page's code sets text from outside as text, never as
markup. Only the page's own code may run, and nothing is loaded or sent.
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
"""Keys of the messages that every page uses."""
CLOSING_MARKUP = re.compile(r"<!--|</?(script|style)", re.IGNORECASE)
"""Markup that would end the element that contains the code, or hide its end."""


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
    """Render the page `name` as bytes: its template with its code, styles, vendored code and the payload.

    `linked_page` is a page in the same folder to link to. `notices` are shown at the top, each given in every language;
    they are markup and need no script. The same values give the same bytes.
    """
    code = [
        *map(load_vendored_code, (*scripts, *VEGA_SCRIPTS)),
        load_page_code("offline.js"),
        load_page_code(f"{name}.js"),
    ]
    css = [*map(load_vendored_code, styles), load_page_code("offline.css"), load_page_code(f"{name}.css")]
    environment = Environment(
        loader=PackageLoader("renewals.reports.html"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(f"{name}.html").render(
        language=language_tag(language),
        title=title,
        beside=linked_page,
        notices=[(language_tag(lang), [notice[lang] for notice in notices]) for lang in MESSAGES] if notices else [],
        no_script=[Messages(language).text("page.no_script") for language in MESSAGES],
        policy=content_security_policy(code, css),
        styles=[Markup(style) for style in css],
        scripts=[Markup(script) for script in code],
        payload=Markup(html_safe_json(payload)),
    ).encode()  # fmt: skip


def language_tag(language: str) -> str:
    """Language tag for the `lang` attribute."""
    return {"zh": "zh-Hans"}.get(language, language)


def html_safe_json(values: Any) -> str:
    """Encode values as JSON that is safe inside an element: characters special to markup or old scripts are escaped."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def load_vendored_code(name: str) -> str:
    """Load third-party code, ready to embed in an element."""
    code = (files("renewals.reports.html.vendor") / name).read_text("utf-8")
    return embeddable_code(_convert_to_script(code) if name == "vega-interpreter.js" else code)


def _convert_to_script(module: str) -> str:
    """Convert Vega's expression interpreter, which exists only as a module, to a script that uses the loaded Vega."""
    imports, body = module.split("from 'vega-util';\n", 1)
    body, exports = body.split("export { expression as expressionInterpreter };", 1)
    if "import" in body or "export" in exports:
        raise ValueError("vega-interpreter.js has other imports or exports than expected: adapt _convert_to_script")
    names = imports.replace("import", "const")
    return f"const expressionInterpreter = (() => {{{names}= vega;\n{body}return expression;}})();"


@cache
def load_page_code(name: str) -> str:
    """Load our own code or style sheet, ready to embed in an element."""
    return embeddable_code((files("renewals.reports.html") / "templates" / name).read_text("utf-8"))


def embeddable_code(code: str) -> str:
    """Return code without source-map comments. Raises ValueError if it contains markup that would end its element."""
    code = re.sub(r"(//|/\*)# sourceMappingURL=[\w.-]+( \*/)?", "", code)
    if match := CLOSING_MARKUP.search(code):
        raise ValueError(f"code to embed in a page contains {match.group()!r}, which would end its element")
    return code


def content_security_policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """Content security policy of a page: nothing is loaded or sent; only the page's own code and styles run, by their
    hashes."""
    allowed = {"script-src": scripts, "style-src": styles}
    rules = [f"{kind} {' '.join(map(_csp_hash, code))}" for kind, code in allowed.items()]
    return "; ".join(["default-src 'none'", *rules, "img-src data:", "base-uri 'none'", "form-action 'none'"])


def _csp_hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
