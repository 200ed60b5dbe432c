"""``python -m service.pictures.worker DESCRIPTOR``: the fork server, started by `pool` and by nobody else."""

import sys

from service.pictures.worker.fork_server import main

if __name__ == "__main__":
    main(int(sys.argv[1]))
