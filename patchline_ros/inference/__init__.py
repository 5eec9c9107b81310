"""How a model is run on the car: by PyTorch, or by ONNX Runtime."""
