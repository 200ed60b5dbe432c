"""The service: a photograph in, a color photograph out, over HTTP or from the command line.

``http.app.create_app(settings)`` makes the HTTP service, ``commands.main()`` the command line. Runs on ONNX Runtime;
TensorFlow never comes in here.
"""
