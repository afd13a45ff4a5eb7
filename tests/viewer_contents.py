"""What a browser, and the page's own script, find in a page."""

import base64
import io
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from temporal_hmr.output.viewer.page import Page


@dataclass
class Parsed(HTMLParser):
    """What a browser would find in a page."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: dict[str | None, str] = field(default_factory=dict)
    """By id; the program has none."""
    _inside: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = [dict(attrs).get("id")] if tag == "script" else []

    def handle_endtag(self, tag: str) -> None:
        self._inside = []

    def handle_data(self, data: str) -> None:
        if self._inside:
            identifier = self._inside[0]
            self.scripts[identifier] = self.scripts.get(identifier, "") + data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def parsed(page: Page) -> Parsed:
    result = Parsed()
    result.feed(page.text)
    result.close()
    return result


class Contents:
    """The data in a page, unpacked as its script does."""

    def __init__(self, page: Page) -> None:
        scripts = parsed(page).scripts
        self.head = json.loads(scripts["head"])
        self._bytes = base64.b64decode(scripts["arrays"])
        self._pictures = base64.b64decode(scripts.get("picture-bytes", ""))
        self.people = self.head["people"]

    def array(self, number: int) -> np.ndarray:
        entry = self.head["arrays"][number]
        kind = np.dtype(entry["kind"]).newbyteorder("<")
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(self._bytes, kind, count, entry["at"]).reshape(entry["shape"])
        if entry["kind"] != "int16":
            return values
        return np.where(values == -32768, np.nan, values * entry["step"])

    def of(self, person: int, name: str) -> np.ndarray:
        return self.array(self.people[person][name])

    def curve(self, person: int, name: str) -> np.ndarray:
        return self.array(self.people[person]["curves"][name]).astype(float)

    def picture(self, frame: int) -> np.ndarray:
        sizes = self.head["pictures"]["sizes"]
        begin = sum(sizes[:frame])
        content = self._pictures[begin : begin + sizes[frame]]
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
