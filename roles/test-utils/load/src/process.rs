//! What a process uses, as Linux tells it in /proc.

use std::{fs, io, process, time::Duration};

use serde::{Serialize, Serializer};

/// Time that one tick of the system's accounting stands for: Linux shows 100 a second to programs, whatever it uses itself.
const TICK: Duration = Duration::from_millis(10);

/// What a process has used up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Processor time in user and system mode, of all threads, in steps of 10 ms. In seconds where it is serialised.
    #[serde(serialize_with = "seconds")]
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: u64,
}

impl Usage {
    /// Of the process with this id.
    ///
    /// # Errors
    /// When there is none, or it is another user's, or the system has no /proc.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let odd = || io::Error::new(io::ErrorKind::InvalidData, "unexpected text in /proc");
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        Ok(Self { cpu: cpu(&stat).ok_or_else(odd)?, resident: resident(&status).ok_or_else(odd)?, descriptors })
    }

    /// Of this process; nothing where the system has no /proc.
    pub fn own() -> Self {
        Self::of(process::id()).unwrap_or_default()
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Fields 14 and 15, counted from behind the name, which may contain anything.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u32>().ok()?.checked_add(fields.next()?.parse().ok()?)?;
    Some(TICK * ticks)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_system_is_read() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 120 0 0 0 1234 66 0 0 20 0 3 0 1000 1 2 3";
        assert_eq!(cpu(stat), Some(Duration::from_millis(13_000)));
        assert_eq!(cpu("42 (a) S 1"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_memory_and_files() {
        let usage = Usage::own();
        assert!(usage.resident > 1 << 16 && usage.descriptors > 2, "{usage:?}");
        assert!(Usage::of(u32::MAX).is_err());
        assert!(serde_json::to_value(usage).unwrap()["cpu"].is_f64());
    }
}
