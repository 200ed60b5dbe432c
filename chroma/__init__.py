"""Color science that training and service share: pure functions on NumPy arrays, Lab units everywhere.

L is CIE lightness in [0, 100]; ab are in Lab units, about [-110, 110]; RGB is sRGB with the D65 white point.
"""
