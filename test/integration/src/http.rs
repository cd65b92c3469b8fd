//! A client for the pool's HTTP API, and a judge of whether an answer is what the OpenAPI document says.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::Value;

use crate::pool::LIMIT;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON; null when it is empty.
    ///
    /// # Panics
    /// When it is something else.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}{}", self.head, self.body))
    }
}

/// Sends a request and waits for the whole answer. `headers` end in line breaks.
///
/// # Panics
/// When there is no answer.
pub fn send(address: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = open(address, method, path, &format!("connection: close\r\n{headers}"));
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Sends a request.
fn open(address: SocketAddr, method: &str, path: &str, headers: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("an option");
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    BufReader::new(stream)
}

/// What a GET of this path answers.
///
/// # Panics
/// When it is not 200, or no JSON.
pub fn get(address: SocketAddr, path: &str) -> Value {
    let answer = send(address, "GET", path, "");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

/// Asks again and again until the answer is as wanted.
///
/// # Panics
/// When it never is.
pub fn until(address: SocketAddr, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let answer = send(address, "GET", path, "");
        if answer.status == 200 && wanted(&answer.json()) {
            return answer.json();
        }
        assert!(begin.elapsed() < LIMIT, "{path} stays as it is: {}", answer.body);
        std::thread::yield_now();
    }
}

/// A subscription to what happens.
#[derive(Debug)]
pub struct Subscription(BufReader<TcpStream>);

impl Subscription {
    /// Subscribes.
    ///
    /// # Panics
    /// When that is refused.
    pub fn open(address: SocketAddr) -> Self {
        let mut stream = open(address, "GET", "/api/v1/events", "");
        let mut line = String::new();
        stream.read_line(&mut line).expect("a status line");
        assert!(line.contains("200"), "{line}");
        Self(stream)
    }

    /// The data of the next event of this name that is as wanted.
    ///
    /// # Panics
    /// When none comes.
    pub fn until(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = String::new();
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).expect("an event") > 0, "the stream has ended");
            if let Some(event) = line.strip_prefix("event: ") {
                event.trim().clone_into(&mut last);
            }
            if let Some(data) = line.strip_prefix("data: ").filter(|_| last == name) {
                let data = serde_json::from_str(data).expect("JSON");
                if wanted(&data) {
                    return data;
                }
            }
        }
    }
}

/// What is wrong with `value` by a schema of the document, and where. A property that the schema does not name is wrong, too.
///
/// Knows what our documents use, and says so when there is something else.
pub fn objections(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let wrong = |why: String| vec![format!("{at}: {why}")];
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return target.map_or_else(
            || wrong(format!("{reference} is not there")),
            |target| objections(document, target, value, at),
        );
    }
    for many in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[many].as_array() {
            let all: Vec<_> = choices.iter().map(|choice| objections(document, choice, value, at)).collect();
            return if all.iter().any(Vec::is_empty) { Vec::new() } else { all.concat() };
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        // Each names some of the properties.
        let mut together = serde_json::json!({ "type": "object", "properties": {}, "required": [] });
        for part in parts {
            let part = part["$ref"].as_str().and_then(|r| document.pointer(r.trim_start_matches('#'))).unwrap_or(part);
            let properties = part["properties"].as_object().cloned().unwrap_or_default();
            together["properties"].as_object_mut().expect("an object").extend(properties);
            let required = part["required"].as_array().cloned().unwrap_or_default();
            together["required"].as_array_mut().expect("an array").extend(required);
        }
        return objections(document, &together, value, at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => return wrong(format!("a schema that is not understood: {schema}")),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) if types.contains(&"integer") => "integer",
        Value::Number(_) => "number",
    };
    if !types.contains(&is) {
        return wrong(format!("expected {types:?}, found {value}"));
    }
    if let Some(minimum) = schema["minimum"].as_f64().filter(|minimum| value.as_f64().is_some_and(|v| v < *minimum)) {
        return wrong(format!("expected at least {minimum}, found {value}"));
    }
    match value {
        Value::Array(items) => {
            let each = items.iter().enumerate();
            each.flat_map(|(i, item)| objections(document, &schema["items"], item, &format!("{at}/{i}"))).collect()
        }
        Value::Object(fields) => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let missing = required.iter().filter_map(Value::as_str).filter(|name| !fields.contains_key(*name));
            let mut found: Vec<_> = missing.map(|name| format!("{at}: {name} is missing")).collect();
            for (name, field) in fields {
                match schema["properties"].get(name) {
                    Some(property) => found.extend(objections(document, property, field, &format!("{at}/{name}"))),
                    None => found.push(format!("{at}: {name} is not in the document")),
                }
            }
            found
        }
        _ => Vec::new(),
    }
}

/// Prometheus' `promtool`: `PROMTOOL`, else the one in PATH, else the one that xtask keeps.
///
/// # Panics
/// When there is none.
pub fn promtool() -> PathBuf {
    if let Some(named) = env::var_os("PROMTOOL").filter(|value| !value.is_empty()) {
        return PathBuf::from(named);
    }
    let in_path = env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let kept = cache.map(|cache| cache.join("stratum/promtool"));
    let found = in_path.chain(kept).map(|folder| folder.join("promtool")).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no promtool: run `cargo xtask test`, or `cargo xtask setup` once, or set PROMTOOL"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::objections;

    #[test]
    fn what_is_not_in_the_document_is_found() {
        let document = json!({ "components": { "schemas": { "Item": {
            "type": "object",
            "required": ["id"],
            "properties": { "id": { "type": "integer", "minimum": 0 }, "note": { "type": ["string", "null"] } }
        } } } });
        let item = json!({ "$ref": "#/components/schemas/Item" });
        let list = json!({ "type": "array", "items": item });
        let maybe = json!({ "oneOf": [{ "type": "null" }, item] });
        let both = json!({ "allOf": [item, { "type": "object", "properties": { "more": { "type": "number" } }, "required": ["more"] }] });
        let sound = [
            (&item, json!({ "id": 1, "note": null })),
            (&list, json!([{ "id": 1, "note": "x" }, { "id": 2 }])),
            (&maybe, json!(null)),
            (&both, json!({ "id": 1, "more": 0.5 })),
        ];
        for (schema, value) in sound {
            assert_eq!(objections(&document, schema, &value, "it"), Vec::<String>::new());
        }
        let wrong = [
            (&item, json!({})),
            (&item, json!({ "id": -1 })),
            (&item, json!({ "id": 1.5 })),
            (&item, json!({ "id": 1, "note": 7 })),
            (&item, json!({ "id": 1, "secret": "x" })),
            (&list, json!([{ "id": 1 }, {}])),
            (&list, json!(null)),
            (&maybe, json!("x")),
            (&both, json!({ "id": 1 })),
            (&both, json!({ "id": 1, "more": 1, "secret": 1 })),
        ];
        for (schema, value) in wrong {
            assert_ne!(objections(&document, schema, &value, "it"), Vec::<String>::new(), "{value}");
        }
        let unknown = json!({ "$ref": "#/components/schemas/None" });
        assert!(!objections(&document, &unknown, &json!(1), "it").is_empty());
        assert!(!objections(&document, &json!({ "const": 1 }), &json!(1), "it").is_empty());
    }
}
