#!/bin/bash
# Makes the Python environment of the nodes: docker/install_python.sh FOLDER
#
# It sees the system's packages, ROS among them. A PyTorch that is there already stays, such as the
# one that NVIDIA builds for a Jetson. TORCH_BACKEND: another build
# of PyTorch than that of PyPI, as uv calls it, such as cpu.
set -euo pipefail

requirements=$(dirname "$0")/../tools/requirements
python3 -m venv --system-site-packages "$1"
python="$1/bin/python"

# ROS's messages were compiled against the system's NumPy, and load with no other major version.
numpy=$("$python" -c 'import numpy; print(numpy.__version__.split(".")[0])' 2>/dev/null || echo 2)

has() {
    "$python" -c "import sys; from importlib.util import find_spec; sys.exit(not find_spec('$1'))"
}

# The constraints hold back what the message generators do not go with.
install=("$python" -m pip install --no-cache-dir --disable-pip-version-check
    --constraint "$requirements/build.txt")
if has torch; then
    # Asked for without it, pip would bring the PyTorch along that it was built for.
    has torchvision || { echo "PyTorch is there and torchvision is not: install that first" >&2; exit 1; }
    echo "PyTorch is there already and stays"
elif [ -n "${TORCH_BACKEND:-}" ]; then
    "${install[@]}" -r "$requirements/uv.txt"
    "$python" -m uv pip install --no-cache --python "$python" --torch-backend "$TORCH_BACKEND" \
        --constraint "$requirements/build.txt" -r "$requirements/torch.txt"
else
    "${install[@]}" -r "$requirements/torch.txt"
fi
"${install[@]}" -r "$requirements/packages.txt" -r "$requirements/numpy$numpy.txt" \
    -r "$requirements/onnx.txt" -r "$requirements/watch.txt"
