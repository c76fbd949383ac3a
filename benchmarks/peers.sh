#!/bin/sh
# Install the peers that the benchmarks compare with, each into a virtual environment of its own below .tools/.
# Usage: sh benchmarks/peers.sh [python3.11]
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}

install() { # name, packages...
    name=$1
    shift
    [ -f ".tools/$name/ready" ] && return
    "$python" -m venv --clear ".tools/$name"
    ".tools/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    touch ".tools/$name/ready"
}

install flower 'flwr[simulation]==1.41.0' tensorflow-cpu==2.21.0 keras==3.15.1 numpy==2.4.6
install pfl pfl==0.6.0 torch==2.9.1 numpy
