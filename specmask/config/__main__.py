"""``python -m specmask.config`` prints config.ini with every option."""

from specmask.config import ini

print(ini.render(), end="")
