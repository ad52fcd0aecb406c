"""HTML as elements, so that nothing an agent wrote can become markup or script.

Text and attributes are escaped when a page is written, never by whoever builds it. The page is
plain ASCII, with references for everything else, so no encoding can be guessed wrongly.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree.ElementTree import Element, tostring

_NOT_IN_SCRIPTS = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}


def element(tag: str, attributes: Mapping[str, str] | None = None, /, *children: Element | str) -> Element:
    """An element with attributes, elements and text."""
    made = Element(tag, dict(attributes or {}))
    extend(made, children)
    return made


def extend(parent: Element, children: Iterable[Element | str]) -> None:
    """Add elements and text at the end of ``parent``."""
    for child in children:
        if isinstance(child, Element):
            parent.append(child)
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + child
        else:
            parent.text = (parent.text or "") + child


def section(name: str, heading: str, about: str, *content: Element) -> Element:
    """A part of the page that links lead to by ``name``."""
    lead = [element("p", {"class": "lead"}, about)] if about else []
    return element("section", {"id": name}, element("h2", {}, heading), *lead, *content)


def link(target: str, text: str) -> Element:
    """A link to a section."""
    return element("a", {"href": f"#{target}"}, text)


def disclosure(summary: str, *content: Element) -> Element:
    """What is there for whoever opens it."""
    return element("details", {}, element("summary", {}, summary), *content)


def embedded(name: str, value: Any) -> Element:
    """``value`` as JSON for a script to read; no text in it can end the element that holds it.

    Args:
        name: The element's id.
        value: Plain JSON types.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_NOT_IN_SCRIPTS)
    return element("script", {"type": "application/json", "id": name}, text)


def policy(style: str, script: str) -> Element:
    """What a browser is to allow: this style, this script, and nothing from anywhere else.

    It is the second lock: even markup that slipped into the page could neither run nor load.
    """
    rules = (
        "default-src 'none'",
        f"style-src '{_digest(style)}'",
        f"script-src '{_digest(script)}'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    )
    return element("meta", {"http-equiv": "Content-Security-Policy", "content": "; ".join(rules)})


def written(page: Element) -> bytes:
    """The document that ``page``, an ``html`` element, stands for."""
    text = tostring(page, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode("ascii", "xmlcharrefreplace")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('ascii')).digest()).decode()}"
