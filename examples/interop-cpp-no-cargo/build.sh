#!/bin/sh
# Builds the example with rustc and a C++ compiler: build.sh [FOLDER], ./build unless given.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
ffi=$here/../../protocols/v2/sv2-ffi
out=${1:-build}

sh "$ffi/build-subset.sh" "$out/sv2"
# CXXFLAGS is a list of words.
# shellcheck disable=SC2086
"${CXX:-c++}" -std=c++17 -Wall -Wextra ${CXXFLAGS:-} -DSV2_SUBSET -I "$ffi/include" "$here/main.cpp" \
    "$out/sv2/libsv2_ffi.a" -lpthread -ldl -lm -o "$out/interop-cpp-no-cargo"
echo "$out/interop-cpp-no-cargo"
