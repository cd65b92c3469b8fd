//! What is shown to whom.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use pool::{PoolConfig, api::TOKEN_FILE};

use super::Finding;

pub(super) fn examine(config: &PoolConfig) -> Vec<Finding> {
    let http = &config.http;
    let mut findings = Vec::new();
    match http.operator {
        None => findings.push(Finding::note("http", "there is no dashboard for the operator (http.operator = false)")),
        Some(address) if address.ip().is_loopback() => {
            findings.push(Finding::ok(
                "http",
                format!("the operator's view is on this machine alone, at http://{address}"),
            ));
        }
        Some(address) => findings.push(Finding::warning(
            "http",
            format!("whoever reaches {address} sees all of the pool, names and addresses of miners among it"),
            "set http.operator to 127.0.0.1:34280 and look through a tunnel (ssh -L), or show http.public instead",
        )),
    }
    if let Some(address) = http.public {
        findings.push(Finding::note("http", format!("the public view is at http://{address}, without encryption")));
    }
    if http.operator.is_some() {
        let own = config.data_dir.join(TOKEN_FILE);
        findings.extend(token(http.token_file.as_deref().unwrap_or(&own)));
    }
    findings
}

fn token(path: &Path) -> Option<Finding> {
    // One that is not there is made, for its owner alone.
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let text = format!("others may read the token in {} (mode {mode:o})", path.display());
        Finding::error("http", text, &format!("chmod 600 {}, or remove it to get a new one", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn what_everybody_sees_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = PoolConfig::new(bitcoin::Network::Regtest, "raw(51)", folder.path().into());
        let levels = |config: &PoolConfig| examine(config).iter().map(|finding| finding.level).collect::<Vec<_>>();
        assert_eq!(levels(&config), [Level::Note]);
        config.http.operator = Some("127.0.0.1:34280".parse().unwrap());
        config.http.public = Some("0.0.0.0:80".parse().unwrap());
        assert_eq!(levels(&config), [Level::Ok, Level::Note]);
        config.http.operator = Some("0.0.0.0:34280".parse().unwrap());
        assert_eq!(levels(&config)[0], Level::Warning);
        let path = folder.path().join(TOKEN_FILE);
        fs::write(&path, "token").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(levels(&config)[2], Level::Error);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(levels(&config).len(), 2);
    }
}
