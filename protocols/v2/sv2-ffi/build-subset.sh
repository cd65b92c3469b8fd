#!/bin/sh
# Builds the subset of the library (plain connections, common and template distribution messages) with rustc alone:
# no cargo, no network, nothing from outside this tree.
#
#   build-subset.sh [FOLDER]     writes FOLDER/libsv2_ffi.a; the folder is ./sv2-subset unless given
#
# RUSTC names the compiler, RUSTFLAGS adds flags to every call (for example "-C opt-level=s -C panic=abort").
set -eu

here=$(cd "$(dirname "$0")" && pwd)
v2=$(dirname "$here")
out=${1:-sv2-subset}
rustc=${RUSTC:-rustc}
mkdir -p "$out"

# crate NAME TYPE SOURCE [DEPENDENCY...]
crate() {
    name=$1 type=$2 source=$3
    shift 3
    for dependency in "$@"; do
        case $dependency in
            proc_macro) set -- "$@" --extern proc_macro ;;
            derive_sv2) set -- "$@" --extern "derive_sv2=$(ls "$out"/libderive_sv2.* | head -n 1)" ;;
            *) set -- "$@" --extern "$dependency=$out/lib$dependency.rlib" ;;
        esac
        shift
    done
    # RUSTFLAGS is a list of words.
    # shellcheck disable=SC2086
    "$rustc" --edition 2024 --crate-name "$name" --crate-type "$type" -C opt-level=3 --cap-lints allow \
        $([ "$type" = proc-macro ] || echo ${RUSTFLAGS:-}) \
        -L "dependency=$out" "$@" --out-dir "$out" "$v2/$source/src/lib.rs"
}

crate const_sv2 rlib const-sv2
crate derive_sv2 proc-macro binary-sv2/derive-sv2 proc_macro
crate no_serde_sv2 rlib binary-sv2/no-serde-sv2 const_sv2
crate binary_sv2 rlib binary-sv2/binary-sv2 no_serde_sv2 derive_sv2
crate framing_sv2 rlib framing-sv2 binary_sv2 const_sv2
crate codec_sv2 rlib codec-sv2 binary_sv2 const_sv2 framing_sv2
crate common_messages_sv2 rlib subprotocols/common-messages binary_sv2 const_sv2
crate template_distribution_sv2 rlib subprotocols/template-distribution binary_sv2 const_sv2
crate sv2_ffi staticlib sv2-ffi \
    binary_sv2 codec_sv2 common_messages_sv2 const_sv2 framing_sv2 template_distribution_sv2
echo "$out/libsv2_ffi.a"
