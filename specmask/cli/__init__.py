"""The commands: arguments, calls into the package, printed results."""
