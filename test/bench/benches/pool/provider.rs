//! A Template Provider that does as told, and says when: the same for every pool.
//!
//! Its templates carry mainnet's difficulty, so that shares at the easiest target are no blocks, and name transactions that
//! nobody has: what is measured never comes to a block.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use binary_sv2::{B0_64K, B0_255, Seq0_255, Str0_255, U256};
use bitcoin::hashes::{Hash as _, sha256d};
use common_messages_sv2::SetupConnectionSuccess;
use const_sv2::{
    message_type::template_distribution::{COINBASE_OUTPUT_CONSTRAINTS, REQUEST_TRANSACTION_DATA},
    protocol::VERSION,
};
use network_helpers::{Connection, FrameWriter, ServerSecurity};
use noise_sv2::{AuthorityPublicKey, AuthoritySecretKey, ServerIdentity, Validity};
use rand_core::OsRng;
use roles_logic_sv2::Target;
use template_distribution_sv2::{NewTemplate, RequestTransactionData, RequestTransactionDataError, SetNewPrevHash};
use tokio::{net::TcpListener, sync::mpsc as channel};

/// Compact target of mainnet at the end of 2025.
const NBITS: u32 = 0x1701_d936;
/// Where the chain begins.
const HEIGHT: u32 = 925_000;
/// Levels of the merkle tree: some 4,000 transactions.
const LEVELS: u32 = 12;

/// What the provider is told.
enum Order {
    /// Sends a template for the tip to come.
    Prepare,
    /// Sends a new tip, which activates the last such template, or a new one that goes out with it.
    Tip { prepared: bool, reply: mpsc::Sender<Sent> },
}

/// A tip that went out.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Right before the system was given the bytes.
    pub at: Instant,
    pub prev_hash: [u8; 32],
}

/// The way to the pool that connected last.
type Current = Arc<Mutex<Option<channel::UnboundedSender<Order>>>>;

pub struct Provider {
    pub address: SocketAddr,
    pub key: AuthorityPublicKey,
    current: Current,
}

impl Provider {
    /// Starts on a free port, in a thread that ends with the process.
    pub fn start() -> io::Result<Self> {
        let authority = AuthoritySecretKey::generate(&mut OsRng).map_err(io::Error::other)?;
        let validity = Validity { from: 0, until: u32::MAX };
        let identity = ServerIdentity::issue(&authority, validity, &mut OsRng).map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let (address, current) = (listener.local_addr()?, Current::default());
        let shared = current.clone();
        let work = move || runtime.block_on(accept(listener, Arc::new(identity), shared));
        thread::Builder::new().name("template-provider".to_owned()).spawn(work)?;
        Ok(Self { address, key: authority.public_key(), current })
    }

    /// Sends a template for the tip to come, ahead of it.
    pub fn prepare(&self) -> io::Result<()> {
        self.order(Order::Prepare)
    }

    /// Sends a new tip, with its template or for the one that was prepared.
    pub fn tip(&self, prepared: bool) -> io::Result<Sent> {
        let (reply, sent) = mpsc::channel();
        self.order(Order::Tip { prepared, reply })?;
        sent.recv().map_err(|_| io::Error::other("the pool has left the Template Provider"))
    }

    fn order(&self, order: Order) -> io::Result<()> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let pool =
            current.as_ref().ok_or_else(|| io::Error::other("no pool has connected to the Template Provider"))?;
        pool.send(order).map_err(|_| io::Error::other("the pool has left the Template Provider"))
    }
}

async fn accept(listener: TcpListener, identity: Arc<ServerIdentity>, current: Current) {
    while let Ok((stream, _)) = listener.accept().await {
        let security = ServerSecurity::Noise(identity.clone());
        let current = current.clone();
        tokio::spawn(async move {
            if let Ok(connection) = Connection::accept(stream, security).await {
                // Pools are killed when they have been measured; that one has gone shows in the next order.
                let _ = serve(connection, current).await;
            }
        });
    }
}

async fn serve(connection: Connection, current: Current) -> Result<(), network_helpers::Error> {
    let (mut reader, mut writer) = connection.split();
    reader.read_frame().await?;
    writer.send(&SetupConnectionSuccess { used_version: VERSION, flags: 0 }).await?;
    while reader.read_frame().await?.header().message_type() != COINBASE_OUTPUT_CONSTRAINTS {}
    let mut chain = Chain { height: HEIGHT, template: 0 };
    chain.send_template(&mut writer)?;
    chain.send_tip(&mut writer)?;
    writer.flush().await?;
    let (sender, mut orders) = channel::unbounded_channel();
    current.lock().unwrap_or_else(PoisonError::into_inner).replace(sender);
    loop {
        tokio::select! {
            frame = reader.read_frame() => {
                let frame = frame?;
                if frame.header().message_type() == REQUEST_TRANSACTION_DATA
                    && let Ok(RequestTransactionData { template_id }) = binary_sv2::from_bytes(frame.payload())
                {
                    let error_code = Str0_255::from_truncated("template-id-not-found");
                    writer.send(&RequestTransactionDataError { template_id, error_code }).await?;
                }
            }
            order = orders.recv() => match order {
                // Another pool has come.
                None => return Ok(()),
                Some(Order::Prepare) => {
                    chain.send_template(&mut writer)?;
                    writer.flush().await?;
                }
                Some(Order::Tip { prepared, reply }) => {
                    if !prepared {
                        chain.send_template(&mut writer)?;
                    }
                    let prev_hash = chain.send_tip(&mut writer)?;
                    let at = Instant::now();
                    writer.flush().await?;
                    // Whoever asked waits.
                    let _ = reply.send(Sent { at, prev_hash });
                }
            },
        }
    }
}

struct Chain {
    height: u32,
    /// Id of the last template.
    template: u64,
}

impl Chain {
    /// Queues a template for the block after the tip to come.
    fn send_template(&mut self, writer: &mut FrameWriter) -> Result<(), network_helpers::Error> {
        self.template += 1;
        let [low, middle, high, _] = self.height.to_le_bytes();
        let mut outputs = vec![0; 8];
        outputs.extend([38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
        outputs.extend(hash("commitment", self.template));
        let siblings =
            (0..LEVELS).map(|level| U256::from_le_bytes(hash("sibling", self.template << 8 | u64::from(level))));
        writer.queue(&NewTemplate {
            template_id: self.template,
            future_template: true,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: B0_255::from_truncated(&[3, low, middle, high]),
            coinbase_tx_input_sequence: 0xffff_fffe,
            coinbase_tx_value_remaining: 315_000_000,
            coinbase_tx_outputs_count: 1,
            coinbase_tx_outputs: B0_64K::from_truncated(&outputs),
            coinbase_tx_locktime: self.height - 1,
            merkle_path: Seq0_255::try_from_iter(siblings).expect("12 hashes fit"),
        })
    }

    /// Queues the tip that activates the last template.
    fn send_tip(&mut self, writer: &mut FrameWriter) -> Result<[u8; 32], network_helpers::Error> {
        let prev_hash = hash("block", self.height.into());
        self.height += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let target = Target::from_compact(NBITS).unwrap_or(Target::ZERO);
        writer.queue(&SetNewPrevHash {
            template_id: self.template,
            prev_hash: U256::from_le_bytes(prev_hash),
            header_timestamp: now as u32,
            n_bits: NBITS,
            target: U256::from_le_bytes(target.to_le_bytes()),
        })?;
        Ok(prev_hash)
    }
}

/// A hash of its own for each thing of the made-up chain.
fn hash(what: &str, number: u64) -> [u8; 32] {
    sha256d::Hash::hash(format!("{what} {number}").as_bytes()).to_byte_array()
}
