"""The exception whose text users read."""


class UserError(Exception):
    """A problem with the user's input: one line, shown without a traceback, exit code 2.

    The text names the file or option, what was found, what was expected and what to do.
    """


def import_failure(error: ImportError) -> str:
    """Return why a package cannot be used: it is not installed, or broken; one line."""
    if isinstance(error, ModuleNotFoundError):
        return f"is not installed ({error})"
    cause = error.__context__ or error  # the text of TensorFlow's own error is a traceback
    return f"cannot be imported ({' '.join(str(cause).split())})"
