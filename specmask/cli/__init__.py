"""The commands: what each script reads, calls and prints."""
