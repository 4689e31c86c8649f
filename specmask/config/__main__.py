"""``python -m specmask.config``: config.ini with every option, on stdout."""

from specmask.config import ini

if __name__ == "__main__":
    print(ini.render(), end="")
