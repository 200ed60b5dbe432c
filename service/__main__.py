"""``python -m service`` is ``photochrom``."""

from service.cli import main

if __name__ == "__main__":
    main()
