//! Rows of named fields, as CSV with a header or as a JSON array with a row to a line.

use std::io::{self, Write};

use serde_json::{Map, Value};

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values (RFC 4180), the first line names the fields
    Csv,
    /// An array of objects, a line each
    Json,
}

/// Writes rows as they come.
pub(super) struct Table<W: Write> {
    fields: &'static [&'static str],
    output: Output<W>,
}

enum Output<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json { out: W, is_empty: bool },
}

impl<W: Write> Table<W> {
    pub(super) fn new(out: W, format: Format, fields: &'static [&'static str]) -> io::Result<Self> {
        let output = match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(fields)?;
                Output::Csv(Box::new(writer))
            }
            Format::Json => Output::Json { out, is_empty: true },
        };
        Ok(Self { fields, output })
    }

    /// A value for each field.
    pub(super) fn row(&mut self, values: &[Value]) -> io::Result<()> {
        match &mut self.output {
            Output::Csv(writer) => {
                let texts = values.iter().map(|value| match value {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                writer.write_record(texts)?;
            }
            Output::Json { out, is_empty } => {
                out.write_all(if std::mem::replace(is_empty, false) { b"[\n" } else { b",\n" })?;
                let named = self.fields.iter().map(|field| (*field).to_owned()).zip(values.iter().cloned());
                serde_json::to_writer(out, &Value::Object(named.collect::<Map<_, _>>()))?;
            }
        }
        Ok(())
    }

    pub(super) fn end(self) -> io::Result<()> {
        match self.output {
            Output::Csv(mut writer) => writer.flush(),
            Output::Json { mut out, is_empty } => {
                out.write_all(if is_empty { b"[]\n" } else { b"\n]\n" })?;
                out.flush()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, rows: &[[Value; 2]]) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, format, &["name", "count"]).unwrap();
        rows.iter().for_each(|row| table.row(row).unwrap());
        table.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let rows = [["a,\"b\"".into(), 1.into()], [Value::Null, 2.into()]];
        assert_eq!(written(Format::Csv, &rows), "name,count\n\"a,\"\"b\"\"\",1\n,2\n");
        assert_eq!(written(Format::Csv, &[]), "name,count\n");
    }

    #[test]
    fn json_is_an_array_whatever_the_number_of_rows() {
        assert_eq!(written(Format::Json, &[]), "[]\n");
        let rows = [["a".into(), 1.into()], ["b".into(), 2.into()]];
        let text = written(Format::Json, &rows);
        assert_eq!(text.lines().count(), 4);
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read[1]["name"], "b");
    }
}
