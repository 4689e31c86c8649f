"""The exception whose text users read."""


class UserError(Exception):
    """A problem with the user's input: one line, shown without a traceback, exit code 2.

    The text names the file or option, what was found, what was expected and what to do.
    """
