"""Many files at once: found, colored here, by a service or on a cluster, written whole; films too."""
