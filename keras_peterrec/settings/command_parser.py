"""argparse's parser, whose errors are one line and say which option was meant."""

import argparse
import difflib
import sys

from keras_peterrec.errors import shortened


class CommandParser(argparse.ArgumentParser):
    """A parser of one command, or of the whole program.

    A name may be written as in Python, `--max_length`. An option or a command that does not exist
    ends the program with one line and status 2, which names the nearest one that does.

    Attributes:
        hints: dict from an option that people know from elsewhere to what is said of it. Empty at
            first.
        commands: collection of the words that may come first; `None` of a command of its own.
    """

    def __init__(self, *args, **kwargs):
        self.hints, self.commands, self._names = {}, None, []
        super().__init__(*args, **kwargs)

    def add_argument(self, *names, **options):
        """Adds an argument, as argparse does."""
        action = super().add_argument(*names, **options)
        self._names += action.option_strings
        return action

    def parse_known_args(self, args=None, namespace=None):
        """Parses words as argparse does, but ends the program where one is not known."""
        words = [self._as_known(word) for word in (sys.argv[1:] if args is None else args)]
        if self.commands is not None:
            word = next((word for word in words if not word.startswith("-")), None)
            if word is not None and word not in self.commands:
                names = ", ".join(self.commands)
                self.error(f"there is no command {word!r}{meant(word, self.commands)} ({names})")
        parsed, others = super().parse_known_args(words, namespace)
        if others:
            self.error(self._about(others))
        return parsed, []

    def error(self, message):
        """Ends the program with one line and status 2."""
        text = " ".join(shortened(message).split())
        self.exit(2, f"keras-peterrec: error: {text}; {self.prog} --help says more\n")

    def _as_known(self, word):
        """A word whose option has dashes where only so there is one."""
        name, sign, value = word.partition("=")
        dashed = name.replace("_", "-")
        takes_it = word.startswith("--") and name not in self._names and dashed in self._names
        return dashed + sign + value if takes_it else word

    def _about(self, words):
        option = next((word for word in words if word.startswith("-")), None)
        if option is None:
            return f"{words[0]!r} is too much"
        option = option.partition("=")[0]
        hint = self.hints.get(option.replace("_", "-"))
        advice = f": {hint}" if hint else meant(option.replace("_", "-"), self._names)
        return f"there is no option {option}{advice}"


def meant(word, known):
    """What to say of a word that is not known: `", did you mean …?"`, or `""` if none is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f", did you mean {near[0]}?" if near else ""
