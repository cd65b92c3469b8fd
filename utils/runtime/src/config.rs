//! Configuration files: TOML, overridden by the environment, strict about keys.
//!
//! An unknown key is an error that names the nearest known one. `PREFIX_A__B=value` in the environment sets key `b` of table
//! `a`; the value is read as TOML where it is valid TOML, else as a string.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

/// Largest configuration file that is read, in bytes; a larger one is surely not a configuration.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can not be read.
    #[error(
        "can not read the configuration {path}: {source}; give a readable file with --config, or print a default with `stratum config <role>`"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("the configuration {0} is over {MAX_CONFIG_BYTES} bytes")]
    TooLarge(PathBuf),
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{origin}: {message}")]
    Invalid {
        /// The file, or the name of the variable.
        origin: String,
        /// Where and why, with the nearest key for an unknown one.
        message: String,
    },
}

/// Reads `path` and applies the variables of `environment` whose names start with `prefix` and an underscore.
///
/// # Errors
/// See [`ConfigError`]; each says which file or variable it is about.
pub fn load<T: DeserializeOwned>(
    path: &Path,
    prefix: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(read)?.len() > MAX_CONFIG_BYTES {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(read)?;
    parse(&text, &path.display().to_string(), prefix, environment)
}

/// Like [`load`], from a string; `origin` names it in errors.
///
/// # Errors
/// See [`ConfigError`].
pub fn parse<T: DeserializeOwned>(
    text: &str,
    origin: &str,
    prefix: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let invalid = |message: String| ConfigError::Invalid {
        origin: origin.to_owned(),
        message: with_hint(without_secrets(message)),
    };
    let prefix = format!("{prefix}_");
    let mut overrides: Vec<_> = environment
        .filter_map(|(name, value)| {
            name.strip_prefix(&prefix).map(|rest| (name.clone(), rest.to_ascii_lowercase(), value))
        })
        .collect();
    if overrides.is_empty() {
        // Straight from the text, so that errors point at line and column.
        return toml::from_str(text).map_err(|e| invalid(e.to_string()));
    }
    overrides.sort();
    let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| invalid(e.to_string()))?;
    for (name, path, value) in overrides {
        set(&mut table, &path, &value).map_err(|message| ConfigError::Invalid { origin: name, message })?;
    }
    table.try_into().map_err(|e: toml::de::Error| invalid(e.to_string()))
}

/// The keys that differ between two configurations, those of tables with a dot. Arrays are compared as a whole.
pub fn differences(before: &toml::Table, after: &toml::Table) -> Vec<String> {
    let mut keys: Vec<_> = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))).collect();
    keys.sort();
    let empty = toml::Table::new();
    let mut found = Vec::new();
    for key in keys {
        match (before.get(key), after.get(key)) {
            (before, after) if before == after => {}
            // A table that is missing is one without keys.
            (Some(toml::Value::Table(before)), None) => prefixed(key, differences(before, &empty), &mut found),
            (None, Some(toml::Value::Table(after))) => prefixed(key, differences(&empty, after), &mut found),
            (Some(toml::Value::Table(before)), Some(toml::Value::Table(after))) => {
                prefixed(key, differences(before, after), &mut found);
            }
            _ => found.push(key.clone()),
        }
    }
    found
}

fn prefixed(table: &str, keys: Vec<String>, found: &mut Vec<String>) {
    found.extend(keys.into_iter().map(|key| format!("{table}.{key}")));
}

/// Makes the value of a key, as [`differences`] names it, the same in `to` as in `from`.
pub fn copy(key: &str, from: &toml::Table, to: &mut toml::Table) {
    let Some((table, rest)) = key.split_once('.') else {
        match from.get(key) {
            Some(value) => drop(to.insert(key.to_owned(), value.clone())),
            None => drop(to.remove(key)),
        }
        return;
    };
    let empty = toml::Table::new();
    let from = from.get(table).and_then(toml::Value::as_table).unwrap_or(&empty);
    let to = to.entry(table).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let Some(to) = to.as_table_mut() {
        copy(rest, from, to);
    }
}

/// Sets the key at `path` (tables separated by two underscores).
fn set(table: &mut toml::Table, path: &str, value: &str) -> Result<(), String> {
    let parsed = format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut wrapped| wrapped.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let (mut table, mut path) = (table, path);
    while let Some((head, rest)) = path.split_once("__") {
        let entry = table.entry(head).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = entry.as_table_mut().ok_or_else(|| format!("`{head}` is not a table, so it has no key `{rest}`"))?;
        path = rest;
    }
    table.insert(path.to_owned(), parsed);
    Ok(())
}

/// Errors quote the line that they are about: what stands behind a key of a secret is left out. Many a URL has a token in it.
fn without_secrets(message: String) -> String {
    let is_secret = |line: &str| {
        let line = line.to_ascii_lowercase();
        ["password", "secret", "token", "url"].iter().any(|word| line.contains(word))
    };
    let mut hidden = false;
    let lines = message.split('\n').map(|line| match line.split_once('=') {
        Some((key, _)) if is_secret(line) => {
            hidden = true;
            format!("{key}= (hidden)")
        }
        _ => line.to_owned(),
    });
    let lines: Vec<_> = lines.collect();
    if hidden { lines.join("\n") } else { message }
}

/// Adds the nearest known key to an error about an unknown one.
fn with_hint(message: String) -> String {
    let Some((_, after)) = message.split_once("unknown field `") else { return message };
    let Some((unknown, expected)) = after.split_once('`') else { return message };
    let nearest = expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|known| (distance(unknown, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match nearest {
        Some((_, known)) => {
            let hint = format!("\ndid you mean `{known}`?");
            message.trim_end().to_owned() + &hint
        }
        None => message,
    }
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        listen: String,
        #[serde(default)]
        limits: Limits,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        channels: u32,
    }

    fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        parse(text, "pool.toml", "STRATUM", environment)
    }

    #[test]
    fn reads_text_and_environment() {
        let config = parse_with(
            "listen = 'a'",
            &[("STRATUM_LISTEN", "[::]:3333"), ("STRATUM_LIMITS__CHANNELS", "7"), ("OTHER_LISTEN", "x")],
        );
        let expected = Config { listen: "[::]:3333".into(), limits: Limits { channels: 7 } };
        assert_eq!(config.unwrap(), expected);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_the_line() {
        let error = parse_with("listen = 'a'\nlimit = 3", &[]).unwrap_err().to_string();
        assert!(error.contains("did you mean `limits`?"), "{error}");
        assert!(error.contains("pool.toml") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_key_far_from_all_gets_no_hint() {
        let error = parse_with("listen = 'a'\nsomething_else = 3", &[]).unwrap_err().to_string();
        assert!(error.contains("unknown field") && !error.contains("did you mean"), "{error}");
    }

    #[test]
    fn a_variable_into_a_value_that_is_no_table_is_refused() {
        let error = parse_with("listen = 'a'", &[("STRATUM_LISTEN__PORT", "1")]).unwrap_err().to_string();
        assert!(error.starts_with("STRATUM_LISTEN__PORT: `listen` is not a table"), "{error}");
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let error = load::<Config>(Path::new("missing.toml"), "X", std::iter::empty()).unwrap_err().to_string();
        assert!(error.contains("missing.toml") && error.contains("stratum config"), "{error}");
    }

    #[test]
    fn secrets_are_not_quoted() {
        for text in [
            "listen = 'a'\npassword = hunter2",
            "listen = 'a'\n[limits]\nrpc_password = 'hunter2' x",
            "listen = 'a'\npassword = [{ url = 'http://a/hunter2' }",
        ] {
            let error = parse_with(text, &[]).unwrap_err().to_string();
            assert!(error.contains("password = (hidden)") && !error.contains("hunter2"), "{error}");
        }
        let error = parse_with("listen = 'a'\n[limits]\npassword = 'hunter2'", &[]).unwrap_err().to_string();
        assert!(error.contains("unknown field `password`") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn differences_are_named_and_can_be_taken_over() {
        let table = |text: &str| text.parse::<toml::Table>().unwrap();
        let mut before = table("a = 1\nb = 2\n[t]\nx = 1\ny = 2\n[gone]\nz = 1");
        let after = table("a = 1\nb = 3\nc = [1]\n[t]\nx = 1\ny = 3\n[new]\nw = 1");
        let keys = differences(&before, &after);
        assert_eq!(keys, ["b", "c", "gone.z", "new.w", "t.y"]);
        keys.iter().for_each(|key| copy(key, &after, &mut before));
        assert_eq!(differences(&before, &after), Vec::<String>::new());
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
