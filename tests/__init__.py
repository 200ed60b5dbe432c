"""The tests; a package, because tf2onnx installs another top-level package of this name."""
