#!/bin/sh
# Compiles kernels.c to kernels.wasm, with clang and lld 14 of Debian 12: the same bytes each time.
set -eu
cd "$(dirname "$0")"
clang --target=wasm32 -msimd128 -mbulk-memory -mnontrapping-fptoint -O3 -std=c11 \
    -Wall -Wextra -Werror -nostdlib -fno-builtin -Wl,--no-entry -Wl,--strip-all \
    -Wl,--export=__heap_base -Wl,-z,stack-size=16384 -o kernels.wasm kernels.c
chmod 644 kernels.wasm
