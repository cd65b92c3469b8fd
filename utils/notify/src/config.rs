//! `[notify]` of a configuration.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use serde::Deserialize;

use crate::message::{Kind, Selector};

/// Webhooks and commands together.
pub const MAX_RECEIVERS: usize = 16;

/// Longest time that a receiver may be given, in seconds.
pub const MAX_TIMEOUT_SECONDS: u64 = 300;

/// Whom to tell, and of what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyConfig {
    /// How the pool calls itself; without it, by its coinbase tag.
    pub name: Option<String>,
    /// A worker is offline when it has delivered no share for so many minutes.
    pub worker_offline_minutes: u64,
    /// Accounts whose workers are watched; empty for all.
    pub accounts: BTreeSet<String>,
    /// Whoever gets requests over HTTP.
    pub webhook: Vec<WebhookConfig>,
    /// Programs that are run.
    pub command: Vec<CommandConfig>,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            name: None,
            worker_offline_minutes: 10,
            accounts: BTreeSet::new(),
            webhook: Vec::new(),
            command: Vec::new(),
        }
    }
}

/// An address, which often has a token in it: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(pub(crate) String);

impl SecretUrl {
    /// Takes an address.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// One receiver over HTTP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// `https://…` or `http://…`.
    pub url: SecretUrl,
    /// File with the secret that requests are signed with; without it they are not.
    pub secret_file: Option<PathBuf>,
    /// File with certificates (PEM) of authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What it wants to know; empty for all.
    #[serde(default)]
    pub events: Vec<Selector>,
    /// Seconds for one request, from the look-up of the name to the answer.
    #[serde(default = "ten")]
    pub timeout_seconds: u64,
}

/// One program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// Its path. No shell is involved.
    pub program: PathBuf,
    /// Its arguments, as they are.
    #[serde(default)]
    pub args: Vec<String>,
    /// What it wants to know; empty for all.
    #[serde(default)]
    pub events: Vec<Selector>,
    /// Seconds after which it is killed.
    #[serde(default = "thirty")]
    pub timeout_seconds: u64,
}

fn ten() -> u64 {
    10
}

fn thirty() -> u64 {
    30
}

impl NotifyConfig {
    /// Whether anybody is told anything.
    pub fn is_empty(&self) -> bool {
        self.webhook.is_empty() && self.command.is_empty()
    }

    /// Whether any receiver wants to know of `kind`.
    pub fn wants(&self, kind: Kind) -> bool {
        let lists = self.webhook.iter().map(|it| &it.events).chain(self.command.iter().map(|it| &it.events));
        lists.into_iter().any(|events| wanted(events, kind))
    }

    /// Checks what types can not express. Files are not read.
    ///
    /// # Errors
    /// The key, and what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.worker_offline_minutes == 0 || self.worker_offline_minutes > MAX_OFFLINE_MINUTES {
            return Err(format!("notify.worker_offline_minutes: expected 1 to {MAX_OFFLINE_MINUTES}"));
        }
        if self.webhook.len() + self.command.len() > MAX_RECEIVERS {
            return Err(format!("notify: expected at most {MAX_RECEIVERS} webhooks and commands together"));
        }
        let webhooks = self.webhook.iter().map(|webhook| ("webhook", webhook.timeout_seconds));
        let commands = self.command.iter().map(|command| ("command", command.timeout_seconds));
        for (what, seconds) in webhooks.chain(commands) {
            if seconds == 0 || seconds > MAX_TIMEOUT_SECONDS {
                return Err(format!("notify.{what}.timeout_seconds: expected 1 to {MAX_TIMEOUT_SECONDS}"));
            }
        }
        if let Some(command) = self.command.iter().find(|command| !command.program.is_absolute()) {
            let program = command.program.display();
            return Err(format!("notify.command.program: expected an absolute path, got {program}"));
        }
        let nul = |text: &str| text.contains('\0');
        if self.command.iter().any(|command| command.args.iter().any(|arg| nul(arg))) {
            return Err("notify.command.args: expected no NUL".to_owned());
        }
        Ok(())
    }
}

/// A day: who is silent for longer has gone.
const MAX_OFFLINE_MINUTES: u64 = 1440;

/// An empty list selects everything, any list a test.
pub(crate) fn wanted(events: &[Selector], kind: Kind) -> bool {
    kind == Kind::Test || events.is_empty() || events.iter().any(|selector| selector.selects(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NotifyConfig, String> {
        toml::from_str::<NotifyConfig>(text).map_err(|error| error.to_string())
    }

    const ALL: &str = "
        worker_offline_minutes = 5
        accounts = ['alice']
        [[webhook]]
        url = 'https://example.com/hooks/token-hunter2'
        secret_file = 'notify.secret'
        events = ['block', 'node.lost']
        [[command]]
        program = '/usr/local/bin/tell'
        args = ['me']
        events = ['worker']
    ";

    #[test]
    fn what_is_wanted() {
        let config = parse(ALL).unwrap();
        config.check().unwrap();
        for (kind, wants) in [
            (Kind::BlockFound, true),
            (Kind::NodeLost, true),
            (Kind::NodeBack, false),
            (Kind::WorkerOffline, true),
            (Kind::LedgerFailing, false),
            (Kind::Test, true),
        ] {
            assert_eq!(config.wants(kind), wants, "{kind:?}");
        }
        assert!(!config.is_empty() && NotifyConfig::default().is_empty());
        assert!(!NotifyConfig::default().wants(Kind::BlockFound));
        assert!(wanted(&[], Kind::BlockFound));
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }

    #[test]
    fn each_mistake_says_what_to_do() {
        let error = |text: &str| match parse(text) {
            Ok(config) => config.check().unwrap_err(),
            Err(error) => error,
        };
        let command = |rest: &str| error(&format!("command = [{{ program = '/bin/true', {rest} }}]"));
        assert!(error("worker_offline_minutes = 0").contains("expected 1 to 1440"));
        assert!(error("worker_offline_minutes = 1441").contains("expected 1 to 1440"));
        assert!(parse("worker_offline_minutes = 1440").unwrap().check().is_ok());
        assert!(command("timeout_seconds = 0").contains("command.timeout_seconds"));
        assert!(command("timeout_seconds = 301").contains("command.timeout_seconds"));
        assert!(command("events = ['blok']").contains("no event is called"));
        assert!(command("args = [\"a\\u0000\"]").contains("NUL"));
        assert!(error("command = [{ program = 'true' }]").contains("absolute"));
        assert!(error("webhook = [{ url = 'http://a', timeout_seconds = 0 }]").contains("webhook.timeout_seconds"));
        assert!(error("webhook = [{ }]").contains("url"));
        let many = |count| format!("command = [{}]", "{ program = '/bin/true' },".repeat(count));
        assert!(parse(&many(MAX_RECEIVERS)).unwrap().check().is_ok());
        assert!(error(&many(MAX_RECEIVERS + 1)).contains("at most 16"));
    }
}
