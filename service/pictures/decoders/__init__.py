"""Bytes -> levels as they lie in the file, one module a library; `service.pictures.formats` says which takes what.

Each `decode(data, header)` returns gray (H, W), RGB (H, W, 3) or CMYK (H, W, 4), stored as the file has them, and
opacity (H, W) or None; of as many bits as the header says, uint8 up to 8 and uint16 above. They run in workers only.
"""
