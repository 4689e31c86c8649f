"""Enhancement of arrays, streams, files and folders."""
