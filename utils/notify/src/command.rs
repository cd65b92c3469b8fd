//! One run of a program: JSON on its standard input, the same in its environment, a time limit, no shell.

use std::{ffi::OsString, fmt, io, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    config::CommandConfig,
    message::{Message, Origin},
    outbox::Delivery,
};

/// What a program has of the pool's own environment; the rest may hold secrets.
const INHERITED: &[&str] = &["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Longest value of a variable, in bytes; a longer one is left out, and stands in the JSON alone.
const MAX_VALUE: usize = 4096;

/// A program as a receiver.
pub(crate) struct Hook {
    program: PathBuf,
    args: Vec<String>,
    timeout: Duration,
}

/// The program without its arguments, which may be secret.
impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command {}", self.program.display())
    }
}

/// Kills the program and all that it has started, when dropped before the program has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Hook {
    pub(crate) fn new(config: &CommandConfig) -> Self {
        let CommandConfig { program, args, timeout_seconds, .. } = config.clone();
        Self { program, args, timeout: Duration::from_secs(timeout_seconds) }
    }

    /// Delivers, or says why not. The program has it when it ends with status 0.
    pub(crate) async fn deliver(&self, origin: &Origin, delivery: &Delivery) -> Result<(), String> {
        let Delivery { message, dropped, .. } = delivery;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(variables(origin, message))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .process_group(0);
        let mut child = command.spawn().map_err(|error| format!("can not be run: {error}"))?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let body = message.body(origin, *dropped);
        let stdin = child.stdin.take();
        let run = async {
            if let Some(mut stdin) = stdin {
                match stdin.write_all(&body).await {
                    // It does not care.
                    Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                    _ => drop(stdin),
                }
            }
            child.wait().await
        };
        let ended = tokio::time::timeout(self.timeout, run).await;
        if matches!(ended, Ok(Ok(_))) {
            // Its number may be somebody else's from now on.
            group.0 = None;
        }
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("it ends with {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                drop(Group(group.0.take()));
                // Its parent is to know that it has ended.
                let _ = child.wait().await;
                Err(format!("killed after {} s", self.timeout.as_secs()))
            }
        }
    }
}

/// `STRATUM_EVENT` and so on, and `STRATUM_` with each key of the data whose value is text, a number or a truth.
fn variables(origin: &Origin, message: &Message) -> Vec<(OsString, OsString)> {
    let Message { id, time, event, text, data } = message;
    let time = time.to_string();
    let fixed = [
        ("ID", id.as_str()),
        ("TIME", &time),
        ("EVENT", event.name()),
        ("POOL", &origin.pool),
        ("NETWORK", &origin.network),
        ("TEXT", text),
    ];
    let own = data.iter().filter_map(|(key, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            _ => return None,
        };
        Some((key.to_ascii_uppercase(), value))
    });
    let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let usable = |(_, value): &(String, String)| value.len() <= MAX_VALUE && !value.contains('\0');
    let prefixed = |(name, value): (String, String)| (format!("STRATUM_{name}").into(), value.into());
    own.chain(fixed).filter(usable).map(prefixed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::Kind;

    #[test]
    fn data_can_not_overrule_what_is_fixed() {
        let Value::Object(data) = json!({
            "height": 7, "hash": "00ab", "main": true, "finder": {"account": "x"}, "text": "mine",
            "long": "x".repeat(MAX_VALUE + 1), "longest": "x".repeat(MAX_VALUE), "nul": "\0"
        }) else {
            unreachable!()
        };
        let message = Message { id: "1".into(), time: 2, event: Kind::BlockFound, text: "ours".into(), data };
        let origin = Origin { pool: "p".into(), network: "regtest".into() };
        let variables: std::collections::BTreeMap<_, _> = variables(&origin, &message).into_iter().collect();
        let value = |name: &str| variables.get(&OsString::from(name)).and_then(|value| value.to_str());
        assert_eq!(value("STRATUM_TEXT"), Some("ours"));
        assert_eq!((value("STRATUM_HEIGHT"), value("STRATUM_MAIN")), (Some("7"), Some("true")));
        assert_eq!((value("STRATUM_EVENT"), value("STRATUM_TIME")), (Some("block.found"), Some("2")));
        assert_eq!((value("STRATUM_FINDER"), value("STRATUM_LONG"), value("STRATUM_NUL")), (None, None, None));
        assert!(value("STRATUM_LONGEST").is_some());
    }
}
