"""The sections of the configuration, a typed model each: see :mod:`specmask.config`."""
