"""Examples of docstrings, written for Griffe: a section `Examples:`, its lines indented."""

import re

import griffe


class Example(griffe.Extension):
    """Turns `Example:`, with its lines beside it, into a section of examples.

    Left as they are, lines that begin with `>>>` would be quotations inside quotations.
    """

    def on_instance(self, *, obj, **kwargs):
        if obj.docstring is not None:
            obj.docstring.value = with_examples(obj.docstring.value)


def with_examples(text):
    """A docstring, dedented, whose examples are a section; they end with the next section."""
    lines, inside = [], False
    for line in text.split("\n"):
        if line == "Example:":
            lines.append("Examples:")
            inside = True
            continue
        inside = inside and not re.match(r"[A-Z]\w+:$", line)
        lines.append(f"    {line}" if inside and line else line)
    # The section begins on the line below its name.
    return re.sub(r"^Examples:\n\n", "Examples:\n", "\n".join(lines), flags=re.M)
