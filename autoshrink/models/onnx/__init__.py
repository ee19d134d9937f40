"""ONNX graphs, for every runtime that takes them: exported and checked, quantized, written down."""
