//! `cargo xtask bench pool`: a pool and a swarm of miners on one machine, ours and the reference implementation's in turn.

mod figures;
mod machine;
mod measure;
mod plan;
mod provider;
mod server;

use std::{env, fs, io};

use load::plot::{Chart, Series, svg};

use self::{
    figures::{Figures, markdown},
    machine::Span,
    measure::{Spreads, connections, floods, memory, paced},
    plan::Plan,
    provider::Provider,
    server::{Kind, Purpose},
};

fn main() -> io::Result<()> {
    let plan = if env::args().any(|argument| argument == "--quick") { Plan::quick() } else { Plan::full() };
    let only = env::args().find_map(|argument| argument.strip_prefix("--only=").map(str::to_owned));
    let wanted = |what: &str| only.as_deref().is_none_or(|only| only == what);
    let provider = Provider::start()?;
    let (mut figures, mut spreads) = (Figures::default(), Spreads::default());
    for repetition in 1..=plan.repetitions {
        for kind in [Kind::Ours, Kind::Sri] {
            eprintln!("repetition {repetition} of {}: {kind:?}", plan.repetitions);
            spreads.0.retain(|(known, ..)| *known != kind);
            let span = Span::start();
            if wanted("connections") {
                connections(kind, &plan, &provider, &mut figures, &mut spreads)?;
            }
            if wanted("memory") {
                memory(kind, &plan, &provider, &mut figures)?;
            }
            if wanted("floods") {
                floods(kind, &plan, &provider, &mut figures)?;
            }
            if wanted("paced") {
                paced(kind, Purpose::Prompt, &plan, &provider, &mut figures)?;
                if kind == Kind::Ours {
                    paced(kind, Purpose::Received, &plan, &provider, &mut figures)?;
                }
            }
            if let Some(others) = span.others() {
                figures.add(kind, "others", others);
            }
        }
    }
    println!("{}", markdown(&figures, &plan));
    if let Some(file) = env::var_os("STRATUM_BENCH_SVG") {
        fs::write(file, svg(&[plot(spreads, &plan)]))?;
    }
    Ok(())
}

/// Which part of the miners has heard of a new tip, over time.
fn plot(spreads: Spreads, plan: &Plan) -> Chart {
    let line = |(kind, prepared, times): (Kind, bool, Vec<f64>)| {
        let count = times.len() as f64;
        let step = (times.len() / 200).max(1);
        let at = |(index, time): (usize, f64)| (time.max(0.01), (index + 1) as f64 / count * 100.0);
        let name = match kind {
            Kind::Ours => "ours",
            Kind::Sri => "SRI",
        };
        let name = format!("{name}, {}", if prepared { "sent ahead" } else { "together" });
        Series { name, points: times.into_iter().enumerate().map(at).step_by(step).collect() }
    };
    Chart {
        title: format!("% of {} miners", plan.sizes.last().copied().unwrap_or_default()),
        x_label: "ms since the Template Provider sent the tip".to_owned(),
        log_x: true,
        series: spreads.0.into_iter().map(line).collect(),
    }
}
