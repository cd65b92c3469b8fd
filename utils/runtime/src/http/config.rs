//! What an operator sets, the same for every role.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
};

use serde::{Deserialize, Deserializer, de::Error as _};

/// The section `[http]` of a role's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where the operator's view is served; `false` for nowhere. Whoever can connect sees all of it.
    #[serde(deserialize_with = "address_or_false")]
    pub operator: Option<SocketAddr>,
    /// Where the miners' view is served; `false` for nowhere.
    #[serde(deserialize_with = "address_or_false")]
    pub public: Option<SocketAddr>,
    /// Whether the public view lists all accounts; each is found by its name in any case.
    pub public_accounts: bool,
    /// Holds the token that changes of state need; made if it is not there. Without it, `http.token` in the data folder.
    pub token_file: Option<PathBuf>,
    /// Names that the operator's view is reached by, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Connections of each listener.
    pub connections: usize,
    /// Those of them that are told what happens as it happens.
    pub subscribers: usize,
}

/// On loopback, for the operator alone.
impl Default for HttpConfig {
    fn default() -> Self {
        let operator = SocketAddrV4::new(Ipv4Addr::LOCALHOST, Self::OPERATOR_PORT);
        Self { operator: Some(operator.into()), ..Self::off() }
    }
}

impl HttpConfig {
    /// Port of the operator's view, unless told otherwise.
    pub const OPERATOR_PORT: u16 = 34280;

    /// No listener.
    pub const fn off() -> Self {
        Self {
            operator: None,
            public: None,
            public_accounts: false,
            token_file: None,
            hosts: Vec::new(),
            connections: 512,
            subscribers: 256,
        }
    }

    /// Checks what types can not express.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.operator.is_some()
            && self.operator == self.public
            && self.public.is_some_and(|public| public.port() != 0)
        {
            return Err("http.public: the two views need an address each".to_owned());
        }
        if self.connections == 0 || self.subscribers > self.connections {
            return Err("http: expected connections of at least 1, and no more subscribers than connections".to_owned());
        }
        Ok(())
    }
}

fn address_or_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Switch(bool),
        Address(String),
    }
    let expected = || D::Error::custom("expected \"ADDRESS:PORT\" or false");
    match Value::deserialize(deserializer).map_err(|_| expected())? {
        Value::Switch(false) => Ok(None),
        Value::Switch(true) => Err(expected()),
        Value::Address(text) => text.parse().map(Some).map_err(|_| expected()),
    }
}
