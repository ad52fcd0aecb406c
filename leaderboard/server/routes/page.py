"""Pages without script: the API, from its own schema."""

from __future__ import annotations

from html import escape
from typing import Any


def api_page(schema: dict[str, Any]) -> str:
    """The OpenAPI document as a page that needs no other file."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(schema['info']['title'])}: API</title>",
        '<meta name=viewport content="width=device-width">',
        f"<h1>{escape(schema['info']['title'])}</h1><p>{escape(schema['info']['description'])}</p>",
        "<p>For programs: <a href=/openapi.json>openapi.json</a></p>",
    ]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation.get('description', ''))}</p>")
            parts.append(_fields(schema, operation))
            parts.append(f"<p>Answers: {_answers(operation)}</p></section>")
    return "".join(parts)


def _fields(schema: dict[str, Any], operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "")
    body = schema.get("components", {}).get("schemas", {}).get(reference.rpartition("/")[2], {})
    items = [
        f"<li><code>{escape(name)}</code>: {escape(about.get('description', ''))}"
        for name, about in body.get("properties", {}).items()
    ]
    return f"<p>Body, JSON:</p><ul>{''.join(items)}</ul>" if items else ""


def _answers(operation: dict[str, Any]) -> str:
    return "; ".join(f"{status} {escape(about['description'])}" for status, about in operation["responses"].items())
