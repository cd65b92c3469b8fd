//! A Stratum V1 pool and a miner that really mines, on blocking sockets of the standard library.

mod miner;
mod pool;
mod share;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    thread,
};

use stratum_v1::line::{LineDecoder, LineTooLong};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Easy enough for a processor: 65,536 hashes a share.
const DIFFICULTY: f64 = 1.0 / 65_536.0;

fn main() -> ExitCode {
    let shares = match std::env::args().nth(1).as_deref().unwrap_or("3").parse() {
        Ok(shares @ 1..=1_000) => shares,
        _ => {
            eprintln!("usage: sv1-client-and-server [SHARES, 1 to 1000]");
            return ExitCode::from(2);
        }
    };
    match run(shares) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(shares: u32) -> Result<(), Error> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    println!("pool: listening on {address}");
    let pool = thread::spawn(move || {
        let (stream, peer) = listener.accept()?;
        println!("pool: {peer} connected");
        pool::serve(Lines::new(stream, stratum_v1::line::MAX_LINE_FROM_MINER))
    });
    let stream = TcpStream::connect(address)?;
    let accepted = miner::mine(Lines::new(stream, stratum_v1::line::MAX_LINE_FROM_POOL), shares)?;
    let credited = pool.join().map_err(|_| "the pool's thread has panicked")??;
    println!("{accepted} shares accepted, {credited} credited");
    if accepted == credited && accepted == shares { Ok(()) } else { Err("the two sides disagree".into()) }
}

/// A socket, line by line.
struct Lines {
    stream: TcpStream,
    decoder: LineDecoder,
}

impl Lines {
    fn new(stream: TcpStream, limit: usize) -> Self {
        Self { stream, decoder: LineDecoder::new(limit) }
    }

    /// Waits for a line; `None` when the peer is gone.
    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = [0; 4096];
        loop {
            match self.decoder.next_line() {
                Ok(Some(line)) => return Ok(Some(line.to_vec())),
                Ok(None) => {}
                Err(error @ LineTooLong { .. }) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            match self.stream.read(&mut bytes)? {
                0 => return Ok(None),
                count => self.decoder.extend(bytes.get(..count).unwrap_or_default()),
            }
        }
    }

    /// Sends what a session has written, in one go.
    fn send(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        self.stream.write_all(output)?;
        output.clear();
        Ok(())
    }
}
