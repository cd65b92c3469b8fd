//! Drives any Template Provider: connects as a pool does, asks for everything, shows all messages and checks them.
//!
//! Each connection sets up, sends constraints, takes templates, asks for the transactions of each and compares them with
//! its merkle path; the last one also asks for a template that does not exist. The status is 0 when all was right.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{self, Stdout},
    process::ExitCode,
    time::Duration,
};

use binary_sv2::{Message, Str0_255, U256};
use bitcoin::{
    Transaction,
    consensus::deserialize,
    hashes::{Hash, HashEngine, sha256d},
};
use clap::Parser;
use common_messages_sv2::{CommonMessages, SetupConnection, SetupConnectionSuccess};
use const_sv2::{error_code::request_transaction_data, protocol};
use framing_sv2::{Frame, Sv2Frame};
use network_helpers::{Connection, Security};
use noise_sv2::url::EndpointUrl;
use stratum_inspect::Printer;
use template_distribution_sv2::{
    CoinbaseOutputConstraints, RequestTransactionData, RequestTransactionDataSuccess, TemplateDistribution,
};
use tokio::time::{Instant, timeout_at};

#[derive(Parser)]
#[command(about = "Drives any Template Provider, shows and checks what it sends")]
struct Args {
    /// The Template Provider: stratum2+tcp://HOST:PORT/AUTHORITY-KEY
    url: EndpointUrl,
    /// Does not encrypt the connection
    #[arg(long)]
    plain: bool,
    /// Bytes of coinbase outputs to reserve
    #[arg(long, default_value_t = 1_000)]
    size: u32,
    /// Signature operations to reserve
    #[arg(long, default_value_t = 400)]
    sigops: u16,
    /// Templates to take on each connection
    #[arg(long, default_value_t = 2)]
    templates: usize,
    /// Connections, one after the other
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// Seconds that each connection may take
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A template id that no server uses: ids count up.
const UNKNOWN_TEMPLATE: u64 = u64::MAX;

/// What was right on one connection.
#[derive(Default)]
struct Score {
    templates: usize,
    transactions: usize,
}

/// A connection and what is known of it.
struct Client<'a> {
    args: &'a Args,
    connection: Connection,
    printer: Printer<Stdout>,
    deadline: Instant,
    /// Merkle paths of templates whose transactions were asked for.
    awaited: BTreeMap<u64, Vec<U256>>,
    /// Future templates, of which SetNewPrevHash may start one.
    futures: Vec<u64>,
    last_id: Option<u64>,
    tips: usize,
    score: Score,
}

impl<'a> Client<'a> {
    async fn connect(args: &'a Args) -> Result<Self> {
        let security = match args.plain {
            true => Security::Plain,
            false => Security::Noise { authority: args.url.authority() },
        };
        let deadline = Instant::now() + Duration::from_secs(args.timeout);
        let connection = Connection::connect(&args.url.address(), security).await?;
        let printer = Printer::new(io::stdout());
        let (awaited, futures, score) = (BTreeMap::new(), Vec::new(), Score::default());
        Ok(Self { args, connection, printer, deadline, awaited, futures, last_id: None, tips: 0, score })
    }

    async fn send<M: Message>(&mut self, message: &M) -> Result<()> {
        let frame = Sv2Frame::from_message(message)?;
        self.printer.frame(&"sent", 0, frame.header(), frame.payload())?;
        self.connection.writer().queue_frame(&frame)?;
        Ok(self.connection.writer().flush().await?)
    }

    /// The next frame, shown; an error when the server takes too long or sends what can not be decoded.
    async fn receive(&mut self) -> Result<Sv2Frame<'static>> {
        let late = || format!("expected another message within {} s", self.args.timeout);
        let frame = timeout_at(self.deadline, self.connection.read_frame()).await.map_err(|_| late())??.into_owned();
        self.printer.frame(&"received", 0, frame.header(), frame.payload())?;
        match self.printer.summary().errors {
            0 => Ok(frame),
            _ => Err("the last message can not be decoded".into()),
        }
    }

    async fn setup(&mut self) -> Result<()> {
        let text = Str0_255::from_truncated;
        let setup = SetupConnection {
            protocol: protocol::TEMPLATE_DISTRIBUTION,
            min_version: protocol::VERSION,
            max_version: protocol::VERSION,
            flags: 0,
            endpoint_host: text(self.args.url.host()),
            endpoint_port: self.args.url.port(),
            vendor: text("template-provider-test"),
            hardware_version: text(""),
            firmware: text(env!("CARGO_PKG_VERSION")),
            device_id: text(""),
        };
        self.send(&setup).await?;
        let frame = self.receive().await?;
        match CommonMessages::decode(frame.header().message_type(), frame.payload())? {
            CommonMessages::SetupConnectionSuccess(SetupConnectionSuccess { used_version: 2, flags: 0 }) => {}
            other => return Err(format!("expected version 2 without flags, got {other:?}").into()),
        }
        let constraints = CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: self.args.size,
            coinbase_output_max_additional_sigops: self.args.sigops,
        };
        self.send(&constraints).await
    }

    /// Takes templates until there are enough, at least one has been started, and all transactions have come.
    async fn take_templates(&mut self) -> Result<()> {
        while self.score.templates < self.args.templates || self.tips == 0 || !self.awaited.is_empty() {
            let frame = self.receive().await?;
            let message = TemplateDistribution::decode(frame.header().message_type(), frame.payload())?;
            match message {
                TemplateDistribution::NewTemplate(template) => {
                    let id = template.template_id;
                    if self.last_id.is_some_and(|last| id <= last) {
                        return Err("template ids must go up".into());
                    }
                    if self.last_id.is_none() && !template.future_template {
                        return Err("the first template must be a future one".into());
                    }
                    self.last_id = Some(id);
                    self.futures.extend(template.future_template.then_some(id));
                    if self.score.templates + self.awaited.len() < self.args.templates {
                        self.awaited.insert(id, template.merkle_path.to_vec());
                        self.send(&RequestTransactionData { template_id: id }).await?;
                    }
                }
                TemplateDistribution::SetNewPrevHash(tip) => {
                    if !self.futures.contains(&tip.template_id) {
                        return Err("SetNewPrevHash must name a future template that was sent".into());
                    }
                    self.futures.retain(|id| *id > tip.template_id);
                    self.tips += 1;
                }
                TemplateDistribution::RequestTransactionDataSuccess(data) => self.check(&data)?,
                TemplateDistribution::RequestTransactionDataError(error) => {
                    // A block came in between; the templates after it count.
                    if error.error_code != request_transaction_data::STALE_TEMPLATE_ID {
                        return Err("transactions of a template that is alive must come".into());
                    }
                    self.awaited.remove(&error.template_id);
                }
                other => return Err(format!("a server does not send {}", other.name()).into()),
            }
        }
        Ok(())
    }

    /// Compares a template's transactions with its merkle path.
    fn check(&mut self, data: &RequestTransactionDataSuccess<'_>) -> Result<()> {
        let path = self.awaited.remove(&data.template_id).ok_or("transactions that were not asked for")?;
        let mut ids = Vec::new();
        for transaction in &data.transaction_list {
            ids.push(deserialize::<Transaction>(&transaction)?.compute_txid().to_raw_hash());
        }
        self.score.templates += 1;
        self.score.transactions += ids.len();
        match merkle_path(ids) == path {
            true => Ok(()),
            false => Err(format!("template {}: transactions and merkle path differ", data.template_id).into()),
        }
    }

    async fn ask_for_an_unknown_template(&mut self) -> Result<()> {
        self.send(&RequestTransactionData { template_id: UNKNOWN_TEMPLATE }).await?;
        loop {
            let frame = self.receive().await?;
            match TemplateDistribution::decode(frame.header().message_type(), frame.payload())? {
                TemplateDistribution::RequestTransactionDataError(error) if error.template_id == UNKNOWN_TEMPLATE => {
                    return Ok(());
                }
                TemplateDistribution::RequestTransactionDataSuccess(_) => {
                    return Err("there can be no transactions for a template that was never sent".into());
                }
                _ => {}
            }
        }
    }
}

/// The hashes beside the coinbase's way to the merkle root, deepest first.
fn merkle_path(ids: Vec<sha256d::Hash>) -> Vec<U256> {
    let mut path = Vec::new();
    // The row without its first hash, which the coinbase decides.
    let mut row = ids;
    while let Some(sibling) = row.first() {
        path.push(U256::from_le_bytes(sibling.to_byte_array()));
        row = row[1..]
            .chunks(2)
            .map(|pair| {
                let mut engine = sha256d::Hash::engine();
                engine.input(&pair[0][..]);
                engine.input(&pair[pair.len() - 1][..]);
                sha256d::Hash::from_engine(engine)
            })
            .collect();
    }
    path
}

async fn run(args: &Args) -> Result<()> {
    for number in 1..=args.connections {
        println!("connection {number} to {}", args.url);
        let mut client = Client::connect(args).await?;
        client.setup().await?;
        client.take_templates().await?;
        if number == args.connections {
            client.ask_for_an_unknown_template().await?;
        }
        let Score { templates, transactions } = client.score;
        println!("connection {number}: right: {templates} templates with {transactions} transactions");
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("template-provider-test: {error}");
            ExitCode::FAILURE
        }
    }
}
