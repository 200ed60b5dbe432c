"""``python -m service`` is ``photochrom``."""

from service.commands import main

if __name__ == "__main__":
    main()
