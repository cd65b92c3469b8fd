//! A pool under attack: whatever strangers do, those who mine have their shares acknowledged, and memory has a bound.

use std::{net::IpAddr, path::Path, time::Duration};

use framing_sv2::Header;
use integration::{
    pool::{now, open_extended, setup_connection},
    process::{PoolProcess, Site},
    swarm::{Plan, Swarm, Tally, connect},
};
use mining_sv2::{Mining, SubmitSharesExtended};
use network_helpers::{Connection, Security};
use roles_logic_sv2::channel::client::{ClientChannel, Submission};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_test-pool");

/// One hash in 65,536 is a block: found on purpose, and hardly by chance.
const BLOCK_BITS: u32 = 0x1f00_ffff;

/// How long an attacker puts up with a pool that does not read it, or does not hang up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of each attack.
#[derive(Clone, Copy)]
struct Scale {
    half_open: usize,
    garbage: usize,
    shares: usize,
    reconnects: usize,
    channels: usize,
}

const SMALL: Scale = Scale { half_open: 400, garbage: 200, shares: 3_000, reconnects: 300, channels: 6_000 };
const FULL: Scale = Scale { half_open: 5_000, garbage: 5_000, shares: 100_000, reconnects: 10_000, channels: 65_535 };

/// Where attackers come from.
#[derive(Clone, Copy)]
enum Origin {
    /// 250 addresses.
    Elsewhere,
    /// The honest miners' own address.
    Within,
}

#[derive(Clone)]
struct Attack {
    address: String,
    security: Security,
    from: Origin,
    scale: Scale,
}

impl Attack {
    fn source(&self, n: usize) -> IpAddr {
        match self.from {
            Origin::Elsewhere => [127, 0, 1, (n % 250) as u8 + 1].into(),
            Origin::Within => [127, 0, 0, 1].into(),
        }
    }

    /// A bare connection. An attacker that is kept out tries something else.
    async fn tcp(&self, n: usize) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind((self.source(n), 0).into()).ok()?;
        timeout(PATIENCE, socket.connect(self.address.parse().ok()?)).await.ok()?.ok()
    }

    /// A connection past its handshake.
    async fn noise(&self, n: usize) -> Option<Connection> {
        timeout(PATIENCE, connect(&self.address, self.source(n), self.security)).await.ok()?.ok()
    }

    async fn set_up(&self, n: usize) -> Option<Connection> {
        let mut connection = self.noise(n).await?;
        connection.send(&setup_connection(0)).await.ok()?;
        timeout(PATIENCE, connection.read_frame()).await.ok()?.ok()?;
        Some(connection)
    }

    /// A connection with a channel that has work.
    async fn channel(&self, n: usize) -> Option<(Connection, ClientChannel)> {
        let mut connection = self.set_up(n).await?;
        connection.send(&open_extended("attacker")).await.ok()?;
        let mut channel: Option<ClientChannel> = None;
        loop {
            let (kind, payload) = {
                let frame = timeout(PATIENCE, connection.read_frame()).await.ok()?.ok()?;
                (frame.header().message_type(), frame.payload().to_vec())
            };
            match Mining::decode(kind, &payload).ok()? {
                Mining::OpenExtendedMiningChannelSuccess(success) => channel = ClientChannel::extended(&success).ok(),
                Mining::NewExtendedMiningJob(job) => {
                    channel.as_mut()?.on_new_extended_mining_job(&job).ok()?;
                }
                Mining::SetNewPrevHash(tip) => {
                    channel.as_mut()?.on_set_new_prev_hash(now(), &tip).ok()?;
                    return Some((connection, channel?));
                }
                _ => {}
            }
        }
    }

    /// Connections that stop at each stage of their set-up, held until all are there. Some of them go on a byte at a time.
    async fn half_open(self) {
        let mut held = JoinSet::new();
        for n in 0..self.scale.half_open {
            let attack = self.clone();
            held.spawn(async move {
                match n % 5 {
                    0 => attack.tcp(n).await.map(Held::Tcp),
                    // The first act of a handshake, but for its last byte, and slowly.
                    1 | 2 => {
                        let mut stream = attack.tcp(n).await?;
                        for byte in 0..63 {
                            stream.write_all(&[byte]).await.ok()?;
                            tokio::task::yield_now().await;
                        }
                        Some(Held::Tcp(stream))
                    }
                    3 => {
                        // A frame but for its end, and slowly.
                        let (mut stream, _, mut queue) = attack.noise(n).await?.into_parts().ok()?;
                        queue.push(&setup_connection(0)).ok()?;
                        let bytes = queue.pending().to_vec();
                        for byte in &bytes[..bytes.len() - 1] {
                            stream.write_all(&[*byte]).await.ok()?;
                            tokio::task::yield_now().await;
                        }
                        Some(Held::Tcp(stream))
                    }
                    _ => attack.set_up(n).await.map(Held::Open),
                }
            });
        }
        // All are held until the last one is there, or was refused.
        let _held = held.join_all().await;
    }

    /// What is no handshake, no frame, and a frame that is too long.
    async fn garbage(self) {
        let each = |n: usize| {
            let attack = self.clone();
            async move {
                match n % 3 {
                    0 => {
                        let mut stream = attack.tcp(n).await?;
                        stream.write_all(&[n as u8; 300]).await.ok()?;
                        until_closed(&mut stream).await;
                    }
                    1 => {
                        let (mut stream, _, _) = attack.noise(n).await?.into_parts().ok()?;
                        stream.write_all(&[n as u8; 300]).await.ok()?;
                        until_closed(&mut stream).await;
                    }
                    _ => {
                        let (mut stream, _, mut queue) = attack.noise(n).await?.into_parts().ok()?;
                        let header = Header::new(0, false, 0, 128 * 1024 + 1).ok()?;
                        queue.push_with(header, |_| ()).ok()?;
                        let begin = queue.pending()[..64].to_vec();
                        stream.write_all(&begin).await.ok()?;
                        until_closed(&mut stream).await;
                    }
                }
                Some(())
            }
        };
        in_parallel(self.scale.garbage, each).await;
    }

    /// One share over and over, on several connections; answers are read.
    async fn duplicates(self) {
        let each = |n: usize| {
            let attack = self.clone();
            async move {
                let (connection, mut channel) = attack.channel(n).await?;
                let work = channel.work()?;
                let share = extended(channel.submit(&work, work.version, work.min_ntime, 7))?;
                flood(connection, &share, attack.scale.shares / 4).await;
                Some(())
            }
        };
        in_parallel(4, each).await;
    }

    /// A real solution over and over.
    async fn solution(self) {
        let found = async {
            let (connection, mut channel) = self.channel(0).await?;
            let work = channel.work()?;
            let is_block = |nonce: &u32| {
                let hash = work.header(work.version, work.min_ntime, *nonce).hash();
                work.network_target().is_met_by(&hash)
            };
            let nonce = tokio::task::block_in_place(|| (0..u32::MAX).find(is_block))?;
            let share = extended(channel.submit(&work, work.version, work.min_ntime, nonce))?;
            flood(connection, &share, self.scale.shares).await;
            Some(())
        };
        found.await;
    }

    /// Connections that are set up and dropped.
    async fn reconnects(self) {
        let each = |n: usize| {
            let attack = self.clone();
            async move { attack.channel(n).await.map(drop) }
        };
        in_parallel(self.scale.reconnects, each).await;
    }

    /// Channel after channel on one connection.
    async fn channels(self) {
        let Some(connection) = self.set_up(0).await else { return };
        let (mut reader, mut writer) = connection.split();
        let opens = async {
            let open = open_extended("attacker");
            for _ in 0..self.scale.channels {
                if !matches!(timeout(PATIENCE, writer.send(&open)).await, Ok(Ok(()))) {
                    return;
                }
            }
        };
        let reads = async { while reader.read_frame().await.is_ok() {} };
        tokio::select! {
            () = opens => {}
            () = reads => {}
        }
    }
}

/// What a half-open attacker holds on to.
enum Held {
    Tcp(#[expect(dead_code)] TcpStream),
    Open(#[expect(dead_code)] Connection),
}

fn extended(submission: Submission) -> Option<SubmitSharesExtended> {
    match submission {
        Submission::Extended(share) => Some(share),
        Submission::Standard(_) => None,
    }
}

async fn flood(connection: Connection, share: &SubmitSharesExtended, count: usize) {
    let (mut reader, mut writer) = connection.split();
    let sends = async {
        for _ in 0..count {
            if !matches!(timeout(PATIENCE, writer.send(share)).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    let reads = async { while reader.read_frame().await.is_ok() {} };
    tokio::select! {
        () = sends => {}
        () = reads => {}
    }
}

async fn until_closed(stream: &mut TcpStream) {
    let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
}

/// Attackers at the same time.
const IN_PARALLEL: usize = 50;

async fn in_parallel<F: Future<Output = Option<()>> + Send + 'static>(count: usize, each: impl Fn(usize) -> F) {
    let mut running = JoinSet::new();
    for n in 0..count {
        if running.len() >= IN_PARALLEL {
            running.join_next().await;
        }
        running.spawn(each(n));
    }
    running.join_all().await;
}

/// What the documentation promises (docs/operate/limits.md), in KiB, for these limits.
fn memory_bound(connections: u64, half_open: u64) -> u64 {
    64 * 1024 + 16 * (connections + half_open)
}

async fn attack(scale: Scale, from: Origin) {
    let half_open = scale.half_open as u64 / 2;
    let site = Site::with_blocks(
        BLOCK_BITS,
        &format!("[shares]\nvardiff = false\n[limits]\nconnections = 6000\nhalf_open = {half_open}\ndrain_seconds = 0"),
    );
    let pool = site.start(Path::new(PROGRAM), &[]);
    let plan = Plan {
        address: pool.address.clone(),
        security: site.security(),
        miners: 20,
        from: [127, 0, 0, 1].into(),
        interval: Duration::from_millis(100),
    };
    let mut honest = Swarm::start(&plan);
    honest.until(|miner| miner.acknowledged > 0).await;
    let attack = Attack { address: plan.address.clone(), security: plan.security, from, scale };
    let mut peak = 0;
    let mut after = |name: &str, pool: &PoolProcess| {
        let memory = pool.memory();
        println!("{name}: {memory} KiB");
        peak = memory.max(peak);
    };
    after("before", &pool);
    attack.clone().half_open().await;
    after("half-open", &pool);
    attack.clone().garbage().await;
    after("garbage", &pool);
    attack.clone().duplicates().await;
    after("duplicates", &pool);
    attack.clone().solution().await;
    after("solution", &pool);
    attack.clone().channels().await;
    after("channels", &pool);
    attack.clone().reconnects().await;
    after("reconnects", &pool);
    // All at once.
    let mut together = JoinSet::new();
    together.spawn(attack.clone().half_open());
    together.spawn(attack.clone().garbage());
    together.spawn(attack.clone().duplicates());
    together.spawn(attack.clone().channels());
    together.spawn(attack.reconnects());
    together.join_all().await;
    after("together", &pool);
    // Whoever comes after it all is served.
    let mut newcomer = Swarm::start(&Plan { miners: 1, from: [127, 0, 2, 1].into(), ..plan });
    newcomer.until(|miner| miner.acknowledged > 0).await;
    let Tally { acknowledged, submitted, failures, .. } = honest.stop().await;
    println!("{acknowledged} of {submitted} shares acknowledged, at most {peak} KiB");
    assert_eq!(failures, Vec::<String>::new(), "nobody who mined was cut off");
    // When the swarm is stopped, each miner may have a share under way: it is on its way to the disk, and nobody's loss.
    let answered = submitted.saturating_sub(plan.miners as _);
    assert!(acknowledged * 100 > answered * 99, "{acknowledged} of {submitted} acknowledged");
    assert!(peak < memory_bound(6_000, half_open), "{peak} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_other_addresses() {
    attack(SMALL, Origin::Elsewhere).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_miners_own_address() {
    attack(SMALL, Origin::Within).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; `cargo xtask abuse`"]
async fn in_full() {
    attack(FULL, Origin::Elsewhere).await;
    attack(FULL, Origin::Within).await;
}
