"""An ONNX file's graph as a torch module of ordinary layers, so that it can be pruned, trained and exported again."""
