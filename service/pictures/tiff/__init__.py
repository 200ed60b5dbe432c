"""TIFF, BigTIFF and DNG: directories, the table of layouts, which page is the picture, pixels."""
