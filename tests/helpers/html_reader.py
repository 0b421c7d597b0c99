"""Read a page of the report as a browser would: every tag closed, the text as one line."""

from __future__ import annotations

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Collect texts and tags, and see that every tag is closed in order."""

    VOID = frozenset({"meta", "br", "img", "line", "circle", "link", "input", "hr"})

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href") and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read_page(html):
    reader = Reader()
    reader.feed(html.split("</head>")[-1].replace("</html>", ""))
    assert reader.open == []
    return " ".join(" ".join(reader.texts).split()), reader.links
