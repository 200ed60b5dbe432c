"""Bytes <-> pixels: picture files probed, decoded and encoded, and what they say beside their pixels."""
