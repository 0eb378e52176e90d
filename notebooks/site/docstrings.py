"""Griffe knows a section of examples as `Examples:`; ours say `Example:` where they have one."""

import re

import griffe


class Example(griffe.Extension):
    def on_instance(self, *, obj, **kwargs):
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
