//! What the scenarios of every source do.

use std::sync::Arc;

use bitcoin::consensus::encode;
use integration::events::{Mined, Reader};
use template_source::{Command, Constraints, Event, SubmitOutcome, SubmitPath, Template};

/// Satoshis that the first blocks make.
pub const SUBSIDY: u64 = 50 * 100_000_000;
/// Nothing but the coinbase that every block has.
pub const NO_ROOM: Constraints = Constraints { max_additional_size: 0, max_additional_sigops: 0 };

/// A transaction-free template for a height to come.
pub fn is_ahead(height: u32) -> impl Fn(&Template) -> bool {
    move |template| template.future && template.height == height && template.merkle_path.is_empty()
}

/// Why the source went down.
pub async fn reason_of_down(reader: &mut Reader) -> String {
    let pick = |event: &Event| match event {
        Event::Down { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    reader.until(pick).await
}

/// Hands in a solution; what came of it.
pub async fn submit_solution(reader: &mut Reader, mined: &Mined) -> SubmitOutcome {
    reader.command(Command::SubmitSolution(mined.solution.clone())).await;
    let (path, outcome) = reader.submitted(mined.solution.hash).await;
    assert_eq!(path, SubmitPath::Solution);
    outcome
}

/// Hands in a whole block; what came of it.
pub async fn submit_block(reader: &mut Reader, block: &bitcoin::Block) -> SubmitOutcome {
    let hash = block.block_hash();
    reader.command(Command::SubmitBlock { hash, block: Arc::new(encode::serialize(block)) }).await;
    let (path, outcome) = reader.submitted(hash).await;
    assert_eq!(path, SubmitPath::RawBlock);
    outcome
}
