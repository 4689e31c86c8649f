"""The configuration: its options, their types and defaults, and the INI file."""
