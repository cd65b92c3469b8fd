//! What a pool keeps: keys, ledger, found blocks.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use pool::{PoolConfig, blocks::BlockState, epoch, store::BlockStore};
use share_ledger::{DATABASE, LEDGER_FOLDER, LOG_FOLDER, Reader};
use stratum_runtime::identity::load_authority_key;

use super::Finding;

/// How far the database may be behind the log before something is wrong with it.
const LAG: Duration = Duration::from_secs(60);

/// Whose the data folder is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// No pool runs on it.
    Nobody,
    /// One does.
    RunningPool,
}

/// Whether a pool runs on a folder. A folder that is not there is nobody's.
pub(super) fn owner(data_dir: &Path) -> Owner {
    // The lock is made by a pool; without it there was none.
    match data_dir.join("lock").exists().then(|| epoch::lock(data_dir)) {
        Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Owner::RunningPool,
        _ => Owner::Nobody,
    }
}

/// The authority key, and what else shows secrets.
pub(super) fn keys(config: &PoolConfig, makes_key: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &config.authority_key_file {
        Some(path) if makes_key && !path.exists() => {
            findings.push(Finding::note("key", format!("{} is made at the first start", path.display())));
        }
        Some(path) => match load_authority_key(path) {
            Ok(key) => {
                let text = format!("{}: miners need {} in their URL", path.display(), key.public_key());
                findings.push(Finding::ok("key", text));
            }
            Err(error) => {
                findings.push(Finding::error("key", error.to_string(), "the pool does not start without it"));
            }
        },
        None => findings.push(Finding::note("key", "no listener is encrypted, so there is no key")),
    }
    if let Some(path) = &config.debug_key_log {
        let text = format!("whoever reads {} can read and forge every connection (debug_key_log)", path.display());
        findings.push(Finding::warning("key", text, "take it out of the configuration when there is nothing to debug"));
    }
    findings
}

/// Whether the ledger can be read, and its database follows its log.
pub(super) fn ledger(data_dir: &Path) -> Vec<Finding> {
    let folder = data_dir.join(LEDGER_FOLDER);
    if !folder.join(LOG_FOLDER).is_dir() {
        return vec![Finding::note(
            "ledger",
            format!("{} has none yet; it is made at the first start", data_dir.display()),
        )];
    }
    let overview = match Reader::open(&folder).and_then(|mut reader| reader.overview()) {
        Ok(overview) => overview,
        Err(error) => {
            let advice = "shares are not touched by this; `stratum ledger rebuild` makes the database again";
            return vec![Finding::error("ledger", format!("its database can not be read: {error}"), advice)];
        }
    };
    let text = format!("{} shares of {} workers", overview.shares, overview.workers);
    let mut findings = vec![Finding::ok("ledger", text)];
    if !overview.damage.is_empty() {
        let text = format!("{} gaps in the log could not be read", overview.damage.len());
        findings.push(Finding::error(
            "ledger",
            text,
            "`stratum ledger verify` says which; restore these files from a backup",
        ));
    }
    findings.extend(judge_lag(newest(&folder.join(LOG_FOLDER)), newest_database(&folder)));
    findings
}

fn judge_lag(log: Option<SystemTime>, database: Option<SystemTime>) -> Option<Finding> {
    let lag = log?.duration_since(database?).unwrap_or_default();
    (lag > LAG).then(|| {
        let text = format!("the database is {} s behind the log: statistics stand still", lag.as_secs());
        Finding::warning(
            "ledger",
            text,
            "the pool's log says why; `stratum ledger rebuild` makes it again, without the pool",
        )
    })
}

/// When a file in the folder was last written.
fn newest(folder: &Path) -> Option<SystemTime> {
    let files = fs::read_dir(folder).ok()?.flatten();
    files.filter_map(|file| file.metadata().ok()?.modified().ok()).max()
}

fn newest_database(folder: &Path) -> Option<SystemTime> {
    let names = [DATABASE.to_owned(), format!("{DATABASE}-wal")];
    names.into_iter().filter_map(|name| fs::metadata(folder.join(name)).ok()?.modified().ok()).max()
}

/// Found blocks that no node has taken yet.
pub(super) fn blocks(data_dir: &Path) -> Vec<Finding> {
    if !data_dir.join("blocks").is_dir() {
        return Vec::new();
    }
    match BlockStore::open(data_dir).and_then(|store| store.undecided()) {
        Ok(blocks) => {
            let open = blocks.iter().filter(|(_, state)| *state == BlockState::Open);
            let open = open.map(|(block, _)| block.height.to_string()).collect::<Vec<_>>();
            if open.is_empty() {
                return vec![Finding::ok(
                    "blocks",
                    format!("none waits for a node, {} wait to be final", blocks.len()),
                )];
            }
            let text = format!("no node has taken the block of height {} yet", open.join(", "));
            vec![Finding::error("blocks", text, "start the pool with a node that takes it: it is handed in at once")]
        }
        Err(error) => {
            let text = format!("found blocks can not be read: {error}");
            vec![Finding::error("blocks", text, "see the file that it names")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_database_that_stands_still_is_told() {
        let now = SystemTime::now();
        assert_eq!(judge_lag(None, Some(now)), None);
        assert_eq!(judge_lag(Some(now), Some(now + LAG)), None);
        assert_eq!(judge_lag(Some(now + LAG), Some(now)), None);
        let late = judge_lag(Some(now + LAG + Duration::from_secs(1)), Some(now)).unwrap();
        assert!(late.level == Level::Warning && late.text.contains("61 s"), "{late:?}");
    }

    #[test]
    fn a_folder_is_a_pools_while_it_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(owner(&folder.path().join("missing")), Owner::Nobody);
        assert_eq!(owner(folder.path()), Owner::Nobody);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
        let lock = epoch::lock(folder.path()).unwrap();
        assert_eq!(owner(folder.path()), Owner::RunningPool);
        drop(lock);
        assert_eq!(owner(folder.path()), Owner::Nobody);
    }

    #[test]
    fn what_is_not_there_yet_is_no_trouble() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ledger(folder.path())[0].level, Level::Note);
        assert_eq!(blocks(folder.path()), []);
        let mut config = PoolConfig::new(bitcoin::Network::Regtest, "raw(51)", folder.path().into());
        assert_eq!(keys(&config, false)[0].level, Level::Note);
        config.authority_key_file = Some(folder.path().join("key"));
        assert_eq!(keys(&config, true)[0].level, Level::Note);
        assert_eq!(keys(&config, false)[0].level, Level::Error);
        config.debug_key_log = Some("keys.log".into());
        assert_eq!(keys(&config, true)[1].level, Level::Warning);
    }

    #[test]
    fn a_broken_database_says_that_shares_are_safe() {
        let folder = tempfile::tempdir().unwrap();
        let ledger_folder = folder.path().join(LEDGER_FOLDER);
        fs::create_dir_all(ledger_folder.join(LOG_FOLDER)).unwrap();
        fs::write(ledger_folder.join(DATABASE), "no database".repeat(100)).unwrap();
        let findings = ledger(folder.path());
        assert!(findings[0].level == Level::Error && findings[0].advice.as_ref().unwrap().contains("rebuild"));
    }
}
