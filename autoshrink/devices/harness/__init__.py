"""The program that runs on a device: measures one artifact through its backend's adapter, in a fresh process.

    python -m harness ADAPTER.py REQUEST.json FOLDER

It needs the standard library and NumPy only and imports nothing else of autoshrink, so that this folder is copied to a
device together with an adapter. FOLDER gets ``answer.json``, one ``NAME.npy`` for each file of inputs to predict, and
``stage``, which says what was being done if the process dies. `autoshrink.devices.base` describes the request.
"""
