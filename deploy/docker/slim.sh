#!/bin/sh
# Take out of the image what only compilers and test runners read: a quarter of a gigabyte.
set -eu
cd "${1:-/opt/vaeiso}"/lib/python3.*/site-packages
rm -rf torch/include torch/test pyarrow/include pyarrow/src
for package in matplotlib mpl_toolkits networkx numpy pyarrow scipy sympy; do
  [ ! -d "$package" ] || find "$package" -type d -name tests -prune -exec rm -rf {} +
done
