//! Every message of the vectors, which were made by the reference implementation, field by field.

use framing_sv2::Header;
use stratum_inspect::Printer;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// What the vectors call the fields that Rust can not name as the specification does.
fn specified(name: &str) -> &str {
    match name {
        "n_bits" => "nBits",
        "coinbase_tx_input_n_sequence" => "coinbase_tx_input_nSequence",
        other => other,
    }
}

/// Whether a printed value is the vector's: the same number in decimal or hexadecimal, the same bytes in either order,
/// the same text. Remarks in brackets may follow.
fn same(printed: &str, vector: &str) -> bool {
    if vector.starts_with('"') {
        return printed == vector;
    }
    let printed = printed.split(' ').next().unwrap();
    let reversed = || bytes(vector).iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
    printed == vector
        || (printed == "(empty)" && vector.is_empty())
        || printed.strip_prefix("0x").is_some_and(|hex| u64::from_str_radix(hex, 16).ok() == vector.parse().ok())
        || printed.parse::<f32>().is_ok_and(|number| vector.parse() == Ok(number))
        || (vector.len() == 64 && printed == reversed())
}

#[test]
fn every_field_of_every_vector() {
    let file = include_str!("../../../test/vectors/messages.txt");
    let (mut fields, mut seen) = (Vec::new(), 0);
    for line in file.lines() {
        if let Some((name, value)) = line.strip_prefix("# ").and_then(|line| line.split_once(" =")) {
            fields.push((name, value.trim_start()));
            continue;
        }
        let [name, extension, number, channel_msg, payload] = line.split(' ').collect::<Vec<_>>()[..] else {
            assert!(line.is_empty() || line.starts_with('#'), "{line}");
            continue;
        };
        check(name, [extension, number, channel_msg], &bytes(payload), &fields);
        fields.clear();
        seen += 1;
    }
    assert!(seen > 120, "{seen} vectors");
}

fn check(name: &str, [extension, number, channel_msg]: [&str; 3], payload: &[u8], fields: &[(&str, &str)]) {
    let header =
        Header::new(extension.parse().unwrap(), channel_msg == "1", number.parse().unwrap(), payload.len()).unwrap();
    let mut printer = Printer::new(vec![]).show_all();
    printer.frame(&"vector", 0, header, payload).unwrap();
    assert_eq!((printer.summary().messages, printer.summary().errors), (1, 0), "{name}");
    let text = String::from_utf8(printer.into_inner()).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with(&format!("vector: {name}, type ")), "{text}");
    for (field, value) in fields {
        let line = lines.next().unwrap();
        let (printed_name, printed) = line.trim_start().split_once(": ").unwrap();
        assert_eq!(printed_name, specified(field), "{text}");
        match value.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
            None => assert!(same(printed, value), "{line}: expected {value}"),
            Some(list) => {
                let count: usize = printed.split(' ').next().unwrap().parse().unwrap();
                let elements: Vec<_> = list.split(", ").collect();
                // An empty list and one of an empty element look the same in the vectors.
                assert!(count == elements.len() || (count, list) == (0, ""), "{line}");
                for element in elements.into_iter().take(count) {
                    let line = lines.next().unwrap();
                    let (_, printed) = line.split_once("] ").unwrap();
                    assert!(same(printed, element), "{line}: expected {element}");
                }
            }
        }
    }
    assert_eq!(lines.next(), None, "{text}");
}
