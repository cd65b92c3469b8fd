//! The machine: ports, open files, disk, clock.

use std::{
    fs::File,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use pool::{PoolConfig, server::FILES_BESIDE_CONNECTIONS};
use rustix::fs::{fstatfs, statvfs};
use stratum_runtime::listener;

use super::{Finding, data::Owner};

/// Free space under which the ledger will soon have none, and under which it may within weeks.
const LITTLE_SPACE: u64 = 1 << 30;
const SOME_SPACE: u64 = 20 << 30;

/// How often the disk is asked to sync, and what of it is written.
const SYNCS: usize = 20;
const SYNC_BYTES: usize = 8 << 10;

/// A sync that takes longer delays the answer to each share noticeably, or is no disk for a pool.
const SLOW_SYNC: Duration = Duration::from_millis(50);
const TOO_SLOW_SYNC: Duration = Duration::from_millis(1_000);

/// By how much the clock may run away from the time that has passed while we look.
const STEP: Duration = Duration::from_millis(500);

/// A block's time may be this far ahead of the clock of who takes it.
const FUTURE_BLOCK: u64 = 2 * 3600;

/// No clock is right that is before this: 1 October 2025.
const NOT_BEFORE: u64 = 1_759_276_800;

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Whether each address can be had, or is a running pool's.
pub(super) fn ports(config: &PoolConfig, owner: Owner) -> Vec<Finding> {
    let miners = config.listen.iter().map(|listen| ("listen", listen.address, listen.ipv6_only));
    let views = [("http.operator", config.http.operator), ("http.public", config.http.public)];
    let views = views.into_iter().filter_map(|(name, address)| Some((name, address?, false)));
    let mut findings: Vec<_> = miners
        .chain(views)
        .map(|(name, address, only_v6)| judge_port(name, address, owner, listener::listen(address, only_v6).map(drop)))
        .collect();
    for listen in config.listen.iter().filter(|listen| !listen.noise && !listen.address.ip().is_loopback()) {
        let text =
            format!("listen {}: anybody on the way can read and change what passes (noise = false)", listen.label());
        findings.push(Finding::warning("port", text, "use it only in a network that is yours alone"));
    }
    findings
}

fn judge_port(name: &str, address: SocketAddr, owner: Owner, bound: io::Result<()>) -> Finding {
    match bound {
        Ok(()) => Finding::ok("port", format!("{name} {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && owner == Owner::RunningPool => {
            Finding::ok("port", format!("{name} {address} is in use, and a pool runs on this data folder"))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::error(
            "port",
            format!("{name} {address} is in use by another program"),
            &format!("end it (`ss -ltnp 'sport = :{}'` names it), or choose another port", address.port()),
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::error(
            "port",
            format!("{name} {address}: {error}"),
            "ports below 1024 need a socket unit of systemd, or CAP_NET_BIND_SERVICE; 34254 needs nothing",
        ),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Finding::error(
            "port",
            format!("{name} {address}: this machine does not have that address"),
            "`ip address` lists those that it has; 0.0.0.0 and [::] are all of them",
        ),
        Err(error) => Finding::error("port", format!("{name} {address}: {error}"), "choose another address"),
    }
}

/// Whether there may be as many open files as connections.
pub(super) fn files(config: &PoolConfig) -> Vec<Finding> {
    vec![judge_files(listener::raise_file_limit(), config.limits.connections as u64)]
}

fn judge_files(files: u64, connections: u64) -> Finding {
    let wanted = connections.saturating_add(FILES_BESIDE_CONNECTIONS);
    if files < wanted {
        return Finding::warning(
            "files",
            format!("{files} files may be open, and {connections} connections are allowed"),
            &format!("set LimitNOFILE={wanted} in the systemd unit (or `ulimit -Hn`), or lower limits.connections"),
        );
    }
    let files = if files == u64::MAX { "any number of".to_owned() } else { files.to_string() };
    Finding::ok("files", format!("{files} files may be open, enough for {connections} connections"))
}

/// The disk under the data folder, or under the folder that it will be made in.
pub(super) fn disk(data_dir: &Path) -> Vec<Finding> {
    let Some(folder) = data_dir.ancestors().find(|folder| folder.is_dir()) else {
        let folder = if data_dir.is_relative() { Path::new(".") } else { Path::new("/") };
        return disk_under(folder);
    };
    disk_under(folder)
}

fn disk_under(folder: &Path) -> Vec<Finding> {
    let name = folder.display();
    let mut findings = Vec::new();
    match File::open(folder).and_then(|file| Ok(fstatfs(file.as_fd())?)) {
        Ok(stat) => findings.extend(judge_kind(&name.to_string(), stat.f_type as u64 & 0xffff_ffff)),
        Err(error) => {
            findings.push(Finding::error("disk", format!("{name}: {error}"), "give the pool's user this folder"))
        }
    }
    if let Ok(stat) = statvfs(folder) {
        findings.push(judge_space(&name.to_string(), stat.f_bavail.saturating_mul(stat.f_frsize)));
    }
    match syncs(folder) {
        Ok(times) => findings.push(judge_syncs(&name.to_string(), times)),
        Err(error) => findings.push(Finding::error(
            "disk",
            format!("{name} can not be written: {error}"),
            "give the pool's user this folder, and run the doctor as that user",
        )),
    }
    findings
}

/// File systems on which what was written may be gone, or locks and syncs may not be what they seem (`linux/magic.h`).
fn judge_kind(name: &str, kind: u64) -> Option<Finding> {
    const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    const NETWORK: [u64; 4] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x517b];
    const OVERLAY: u64 = 0x794c_7630;
    if MEMORY.contains(&kind) {
        let text = format!("{name} is in memory: shares, blocks and keys are gone when the machine restarts");
        return Some(Finding::error("disk", text, "choose a data_dir on a disk"));
    }
    if NETWORK.contains(&kind) {
        let text = format!("{name} is on a network file system, whose locks and syncs may not hold");
        return Some(Finding::warning("disk", text, "choose a data_dir on a disk of this machine"));
    }
    (kind == OVERLAY).then(|| {
        let text = format!("{name} belongs to a container, and is gone with it");
        Finding::warning("disk", text, "mount a volume there")
    })
}

fn judge_space(name: &str, free: u64) -> Finding {
    let text = format!("{name} has {:.1} GiB of free space", free as f64 / (1 << 30) as f64);
    if free < LITTLE_SPACE {
        return Finding::error("disk", text, "make room: when it is full, no share is acknowledged any more");
    }
    if free < SOME_SPACE {
        return Finding::warning("disk", text, "a busy pool keeps up to 16 GiB of shares (docs/operate/ledger.md)");
    }
    Finding::ok("disk", text)
}

/// How long the disk takes to sync what a batch of shares may have, the shortest first.
fn syncs(folder: &Path) -> io::Result<Vec<Duration>> {
    let mut file = tempfile::Builder::new().prefix("doctor-").tempfile_in(folder)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        io::Write::write_all(&mut file, &[0x5a; SYNC_BYTES])?;
        let start = Instant::now();
        file.as_file().sync_data()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn judge_syncs(name: &str, times: Vec<Duration>) -> Finding {
    let (median, most) =
        (times.get(times.len() / 2).copied().unwrap_or_default(), times.last().copied().unwrap_or_default());
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let text = format!("{name}: fdatasync takes {:.1} ms, at most {:.1} ms", milliseconds(median), milliseconds(most));
    if median > TOO_SLOW_SYNC {
        return Finding::error("disk", text, "shares are answered that late: use another disk");
    }
    if median > SLOW_SYNC {
        return Finding::warning(
            "disk",
            text,
            "shares are answered that late: an SSD with power-loss protection takes less than 1 ms",
        );
    }
    Finding::ok("disk", text)
}

/// The clock against the time that has passed since `began`, and against the newest block.
pub(super) fn clock(began: (SystemTime, Instant), tip_time: Option<u64>) -> Vec<Finding> {
    let passed = began.1.elapsed();
    let by_clock = SystemTime::now().duration_since(began.0).ok();
    judge_clock(by_clock, passed, unix_now(), tip_time)
}

fn judge_clock(by_clock: Option<Duration>, passed: Duration, now: u64, tip_time: Option<u64>) -> Vec<Finding> {
    const ADVICE: &str = "let it follow others: `timedatectl set-ntp true`, or chrony";
    let mut findings = Vec::new();
    if by_clock.is_none_or(|by_clock| by_clock.abs_diff(passed) > STEP) {
        findings.push(Finding::warning("clock", "the clock was set while this looked at it", ADVICE));
    }
    match tip_time {
        _ if now < NOT_BEFORE => findings.push(Finding::error("clock", "the clock is years behind", ADVICE)),
        Some(tip) if tip > now.saturating_add(FUTURE_BLOCK) => {
            let text =
                format!("the newest block is {} minutes ahead of the clock: the clock is behind", (tip - now) / 60);
            findings.push(Finding::error("clock", text, ADVICE));
        }
        Some(tip) if tip > now => {
            let text = format!("the newest block is {} s ahead of the clock", tip - now);
            findings.push(Finding::note("clock", text));
        }
        Some(tip) => findings.push(Finding::ok("clock", format!("the newest block is {} s old", now - tip))),
        None => findings.push(Finding::ok("clock", "it runs evenly; there is no block to compare it with")),
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn ports() {
        let address = "0.0.0.0:34254".parse().unwrap();
        let level = |kind: ErrorKind, owner| judge_port("listen", address, owner, Err(kind.into())).level;
        assert_eq!(judge_port("listen", address, Owner::Nobody, Ok(())).level, Level::Ok);
        assert_eq!(level(ErrorKind::AddrInUse, Owner::RunningPool), Level::Ok);
        assert_eq!(level(ErrorKind::AddrInUse, Owner::Nobody), Level::Error);
        assert_eq!(level(ErrorKind::PermissionDenied, Owner::RunningPool), Level::Error);
        assert_eq!(level(ErrorKind::AddrNotAvailable, Owner::Nobody), Level::Error);
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener::listen(taken.local_addr().unwrap(), false).map(drop);
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn open_files() {
        assert_eq!(judge_files(10_200, 10_000).level, Level::Ok);
        let few = judge_files(10_199, 10_000);
        assert!(few.level == Level::Warning && few.advice.unwrap().contains("LimitNOFILE=10200"));
        assert!(judge_files(u64::MAX, 10_000).text.contains("any number"));
    }

    #[test]
    fn disks() {
        assert_eq!(judge_space("d", LITTLE_SPACE - 1).level, Level::Error);
        assert_eq!(judge_space("d", LITTLE_SPACE).level, Level::Warning);
        assert_eq!(judge_space("d", SOME_SPACE).level, Level::Ok);
        let syncs = |milliseconds| judge_syncs("d", vec![Duration::from_millis(milliseconds); 3]);
        assert_eq!(syncs(50).level, Level::Ok);
        assert_eq!(syncs(51).level, Level::Warning);
        assert_eq!(syncs(1_001).level, Level::Error);
        assert!(syncs(6).text.contains("6.0 ms"));
        assert_eq!(judge_kind("d", 0xef53), None, "ext4");
        assert_eq!(judge_kind("d", 0x0102_1994).unwrap().level, Level::Error);
        assert_eq!(judge_kind("d", 0x6969).unwrap().level, Level::Warning);
        assert_eq!(judge_kind("d", 0x794c_7630).unwrap().level, Level::Warning);
        let missing = disk(Path::new("/proc/missing/folder"));
        assert!(missing.iter().any(|finding| finding.level == Level::Error), "{missing:?}");
    }

    #[test]
    fn clocks() {
        const NOW: u64 = NOT_BEFORE + 1_000_000;
        let second = Duration::from_secs(1);
        let worst = |by_clock, now, tip| {
            let findings = judge_clock(by_clock, second, now, tip);
            findings.into_iter().map(|finding| finding.level).max().unwrap()
        };
        let even = Some(second);
        assert_eq!(worst(even, NOW, Some(NOW - 600)), Level::Ok);
        assert_eq!(worst(even, NOW, None), Level::Ok);
        assert_eq!(worst(Some(second + STEP), NOW, None), Level::Ok);
        assert_eq!(worst(Some(second + STEP + second), NOW, None), Level::Warning);
        assert_eq!(worst(None, NOW, None), Level::Warning, "it went backwards");
        assert_eq!(worst(even, NOW, Some(NOW + FUTURE_BLOCK)), Level::Note);
        assert_eq!(worst(even, NOW, Some(NOW + FUTURE_BLOCK + 1)), Level::Error);
        assert_eq!(worst(even, NOT_BEFORE - 1, None), Level::Error);
    }
}
