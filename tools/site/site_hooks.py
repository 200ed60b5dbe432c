"""What the site has beside the files in docs/: the HTTP reference, and pages that live elsewhere in the repository.

MkDocs calls the functions named `on_...` while it builds; see mkdocs.yml. The reference is made from the service's
own OpenAPI description, so that it cannot say anything else than the routes do.
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from markdown import Extension, Markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from service.http.app import create_app  # noqa: E402 - the project need not be installed
from service.settings import Settings  # noqa: E402

REFERENCE: Final = "http-reference.md"
DESCRIPTION: Final = "openapi.json"
ELSEWHERE: Final = {
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmark-programs.md",
    "service/model/MODEL_CARD.md": "model-card.md",
}
"""Files outside docs/, by their path in the repository, and the pages they become."""

ICON: Final = "images/icon.svg"

_LINK: Final = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
_FENCED: Final = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)
_AFTER_PARAGRAPH: Final = re.compile(r"(\n\n(?:  +\S.*\n)+)(?=- |\d+\. )")
_ROUTE_ORDER: Final = ("post", "get", "put", "patch", "delete")


class TwoSpaces(Extension):
    """Lets what belongs to a list's item be indented by two spaces, as CommonMark and its other readers do."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Markdown's name
        """Set the indent."""
        md.tab_length = 2


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Read Markdown as other renderers of these files do."""
    config.markdown_extensions.append(TwoSpaces())
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are no files in docs/, and the icon, which is that of the service's page."""
    description = create_app(Settings(_env_file=None, api_keys="", api_keys_file=None)).openapi()
    made = {REFERENCE: render_reference(description), DESCRIPTION: json.dumps(description, indent=1) + "\n"}
    made[ICON] = (ROOT / "service" / "page" / "icon.svg").read_text(encoding="utf-8")
    made |= {page: (ROOT / source).read_text(encoding="utf-8") for source, page in ELSEWHERE.items()}
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Turn links between files of the repository into links between pages of the site."""
    sources = {target: ROOT / source for source, target in ELSEWHERE.items()}
    source = sources.get(page.file.src_uri, Path(config.docs_dir) / page.file.src_uri)
    return loosened(relink(markdown, source, page.file.src_uri))


def loosened(markdown: str) -> str:
    """Put an empty line before a list's item that follows a further paragraph of the item before it.

    Python-Markdown takes such an item for more of that paragraph; other renderers do not. Code stays as it is.
    """
    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _AFTER_PARAGRAPH.sub(r"\1\n", part) for part in parts)


def relink(markdown: str, source: Path, uri: str) -> str:
    """Return a page's text with its links as they have to be on the site.

    Args:
        markdown: the text.
        source: the file it comes from; what its links are relative to.
        uri: the page's place on the site, relative to its root, with `/`.

    Returns:
        The text. A link to what is not on the site is left as it is, for the build to complain about.
    """

    def moved(link: re.Match[str]) -> str:
        target = (source.parent / link[0]).resolve()
        if not target.is_relative_to(ROOT):
            return link[0]
        place = target.relative_to(ROOT).as_posix()
        on_site = ELSEWHERE.get(place, place.removeprefix("docs/") if place.startswith("docs/") else None)
        return link[0] if on_site is None else os.path.relpath(on_site, os.path.dirname(uri) or ".")

    return _LINK.sub(moved, markdown)


def render_reference(description: Mapping[str, Any]) -> str:
    """Return the page that says of every route what it takes and gives.

    Args:
        description: OpenAPI 3.1, as a dict.

    Returns:
        Markdown.
    """
    lines = [
        "# HTTP reference",
        "",
        "Made from the service's own OpenAPI description when this site was built; "
        f"[`{DESCRIPTION}`]({DESCRIPTION}) is that description, and a running service has it at `GET /openapi.json`. "
        "What the options mean together, and what the service promises: [HTTP](http.md).",
        "",
    ]
    for path, methods in description["paths"].items():
        for method in sorted(methods, key=_ROUTE_ORDER.index):
            lines += [f"## {method.upper()} {path}", "", *_operation(methods[method], description), ""]
    return "\n".join(lines)


def _operation(operation: Mapping[str, Any], description: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of one route."""
    yield operation.get("description") or operation.get("summary", "")
    yield ""
    parameters = operation.get("parameters", [])
    if parameters:
        yield from ("| option | where | values | default | what |", "| --- | --- | --- | --- | --- |")
        for parameter in parameters:
            schema = _resolved(parameter.get("schema", {}), description)
            default = "" if schema.get("default") in (None, "") else f"`{schema['default']}`"
            required = "required" if parameter.get("required") else default
            what = _cell(parameter.get("description", ""))
            values = _cell(_values(schema, description))
            yield f"| `{parameter['name']}` | {parameter['in']} | {values} | {required} | {what} |"
        yield ""
    if body := operation.get("requestBody"):
        kinds = ", ".join(f"`{kind}`" for kind in body["content"])
        yield f"**Body{'' if body.get('required') else ', optional'}.** {body.get('description', '')} Sent as {kinds}."
        yield ""
        form = _resolved(body["content"].get("multipart/form-data", {}).get("schema", {}), description)
        for name, field in form.get("properties", {}).items():
            need = "" if name in form.get("required", []) else ", optional"
            yield f"- form field `{name}`{need}: {field.get('description') or 'a file'}"
        yield ""
    yield from ("| status | what | as |", "| --- | --- | --- |")
    for status, response in operation["responses"].items():
        names = [name for content in response.get("content", {}).values() for name in content.get("examples", {})]
        what = _cell(response.get("description", "")) + "".join(f" `{name}`" for name in dict.fromkeys(names))
        kinds = ", ".join(f"`{kind}`" for kind in response.get("content", {}))
        yield f"| {status} | {what} | {kinds} |"
    yield ""
    for status, response in operation["responses"].items():
        yield from _details(status, response)


def _details(status: str, response: Mapping[str, Any]) -> Iterator[str]:
    """Yield the headers of an answer, and an example of one that is no problem."""
    headers = response.get("headers", {})
    if headers:
        yield from (f"Headers of {status}:", "")
        yield from (f"- `{name}`: {header.get('description', '')}" for name, header in headers.items())
        yield ""
    for kind, content in response.get("content", {}).items():
        examples = [content["example"]] if "example" in content else []
        if kind != "application/problem+json":
            examples += [example["value"] for example in content.get("examples", {}).values() if "value" in example]
        for example in examples:
            text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
            language = "json" if "json" in kind else "text"
            yield from (f"An answer {status}, `{kind}`:", "", f"```{language}", text.rstrip("\n"), "```", "")


def _values(schema: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    """Say which values a schema takes."""
    schema = _resolved(schema, description)
    if "anyOf" in schema:
        return " or ".join(_values(one, description) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    kind = {"integer": "whole number", "string": "text"}.get(schema.get("type", ""), schema.get("type", ""))
    if low is not None and high is not None:
        return f"{kind}, {low:g} to {high:g}"
    if low is not None:
        return f"{kind}, from {low:g}"
    if "maxLength" in schema:
        return f"{kind}, at most {schema['maxLength']} characters"
    return str(kind)


def _resolved(schema: Mapping[str, Any], description: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a schema's `$ref`."""
    if "$ref" not in schema:
        return schema
    found: Any = description
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return _resolved(found, description)


def _cell(text: str) -> str:
    """Make a text fit into a cell of a table."""
    return " ".join(text.replace("|", "\\|").split())
