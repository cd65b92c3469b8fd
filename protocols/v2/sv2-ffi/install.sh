#!/bin/sh
# Installs the C library: header, static library, pkg-config file, CMake package.
#
#   install.sh PREFIX [LIBRARY]            the full library:  pkg-config sv2,         CMake sv2, target sv2::sv2
#   install.sh --subset PREFIX [LIBRARY]   the subset:        pkg-config sv2-subset,  CMake sv2-subset, target sv2::subset
#
# Without LIBRARY, a file libsv2_ffi.a that was built before, it is built now: the full one with cargo, the subset with
# rustc alone. Both may be installed under one prefix, and the prefix may be moved.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
subset=
if [ "${1:-}" = --subset ]; then
    subset=yes
    shift
fi
[ $# -ge 1 ] || {
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
prefix=$1
library=${2:-}

if [ -n "$subset" ]; then
    name=sv2-subset target=sv2::subset file=sv2_subset cflags=-DSV2_SUBSET
    if [ -z "$library" ]; then
        build=$(mktemp -d)
        trap 'rm -rf "$build"' EXIT
        library=$(sh "$here/build-subset.sh" "$build")
    fi
else
    name=sv2 target=sv2::sv2 file=sv2_ffi cflags=
    if [ -z "$library" ]; then
        (cd "$here" && cargo build --release --package stratum-sv2-ffi)
        target_folder=${CARGO_TARGET_DIR:-$here/../../../target}
        library=$target_folder/release/libsv2_ffi.a
    fi
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/../../../Cargo.toml" | head -n 1)

# fill TEMPLATE FILE
fill() {
    sed -e "s|@NAME@|$name|g" -e "s|@TARGET@|$target|g" -e "s|@LIBRARY@|$file|g" \
        -e "s|@CFLAGS@|$cflags|g" -e "s|@VERSION@|$version|g" "$here/package/$1" >"$prefix/$2"
}

mkdir -p "$prefix/include" "$prefix/lib/pkgconfig" "$prefix/lib/cmake/$name"
cp "$here/include/sv2.h" "$prefix/include/sv2.h"
cp "$library" "$prefix/lib/lib$file.a"
fill sv2.pc.in "lib/pkgconfig/$name.pc"
fill sv2-config.cmake.in "lib/cmake/$name/$name-config.cmake"
fill sv2-config-version.cmake.in "lib/cmake/$name/$name-config-version.cmake"
echo "installed $name $version under $prefix"
