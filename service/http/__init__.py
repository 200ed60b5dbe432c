"""The HTTP interface: routes, the guard around them, and what serves them."""
