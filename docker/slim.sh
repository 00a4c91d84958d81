#!/bin/sh
# Remove from a virtual environment what nothing of fedkd runs: what PyTorch ships for building extensions and for its
# own tests, other packages' tests, and the installer that Flower would use at run time.
set -eu
packages=$(echo "$1"/lib/python3*/site-packages)

rm -rf "$packages"/torch/include "$packages"/torch/share "$packages"/torch/test "$packages"/torch/bin/test* \
    "$packages"/torch/bin/protoc* "$packages"/caffe2 "$packages"/functorch
rm -f "$1"/bin/uv "$1"/bin/uvx
find "$packages" -name '*.a' -delete
find "$packages" -type d \( -name tests -o -name testing -path '*/sympy/*' \) -prune -exec rm -rf {} +
find "$packages" \( -name '*.pyi' -o -name '*.h' -o -name '*.cuh' \) -delete
