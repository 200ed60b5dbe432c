"""What is read of every format: a table of cells, each a file from an independent writer and what it must give."""
