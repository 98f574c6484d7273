#!/usr/bin/env python
"""Django's command line for the demo shop."""

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    # Settings are read before a command sees its options, so this one is read ahead, as Django
    # itself does with --settings. Processes started from here inherit it.
    ahead = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ahead.add_argument("--data-dir", type=Path)
    options, _ = ahead.parse_known_args()
    if options.data_dir:
        os.environ["SHOP_DATA_DIR"] = str(options.data_dir.absolute())

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_site.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
