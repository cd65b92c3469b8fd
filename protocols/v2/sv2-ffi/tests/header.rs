//! `include/sv2.h` is what `src/` says. To make it anew: `UPDATE_HEADER=1 cargo test -p stratum-sv2-ffi --test header`.

use std::{fmt::Write, fs, path::Path};

#[test]
fn the_header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let codes = fs::read_to_string(folder.join("../const-sv2/src/error_code.rs")).unwrap();
    config.after_includes.get_or_insert_default().push_str(&error_codes(&codes));
    let mut header = Vec::new();
    cbindgen::Builder::new().with_crate(folder).with_config(config).generate().unwrap().write(&mut header);
    let header = without_nested_conditions(&String::from_utf8(header).unwrap());

    let path = folder.join("include/sv2.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&path, &header).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(header.lines()).position(|(a, b)| a != b);
    assert!(
        committed == header,
        "include/sv2.h is old (first at line {differs:?}): UPDATE_HEADER=1 cargo test -p stratum-sv2-ffi --test header"
    );
}

/// Joins neighbouring parts of the full library into one, and drops conditions inside them.
fn without_nested_conditions(header: &str) -> String {
    const BEGIN: &str = "#if defined(SV2_FULL)\n";
    const END: &str = "#endif\n";
    let (mut out, mut depth) = (String::new(), 0);
    for line in header.split_inclusive('\n') {
        match line {
            BEGIN => depth += 1,
            END if depth > 0 => depth -= 1,
            _ => {
                out.push_str(line);
                continue;
            }
        }
        if (line, depth) == (BEGIN, 1) || (line, depth) == (END, 0) {
            out.push_str(line);
        }
    }
    out.replace(&format!("{END}\n{BEGIN}"), "\n")
}

/// `#define`s for the strings of `error_code` and `reason_code` fields, which cbindgen does not export.
fn error_codes(source: &str) -> String {
    let mut out = String::from("\n// Strings of error_code and reason_code fields; servers may send others.\n");
    let (mut module, mut pending) = (String::new(), String::new());
    for line in source.lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("pub mod ") {
            module = rest.trim_end_matches(" {").to_uppercase();
        }
        pending.push_str(line);
        if pending.starts_with("pub const ") && !pending.ends_with(';') {
            continue; // the string stands on the next line
        }
        if let Some((name, text)) = pending.strip_prefix("pub const ").and_then(|rest| rest.split_once(": &str =")) {
            writeln!(out, "#define SV2_CODE_{module}_{name} {}", text.trim().trim_end_matches(';')).unwrap();
        }
        pending.clear();
    }
    assert!(out.lines().count() > 40, "the source of the codes has changed its form");
    out
}
