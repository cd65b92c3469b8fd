//! Runs the simulation and writes the page and the plot: `stratum-vardiff-simulation SEEDS FOLDER`.

use std::{path::Path, process::ExitCode, time::Instant};

use vardiff_simulation::{Algorithm, DEVICES, page, plot, simulate};

/// Runs that the plot's medians are taken of, at most.
const PLOT_SEEDS: u64 = 200;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [seeds, folder] = args.as_slice() else {
        eprintln!("usage: stratum-vardiff-simulation SEEDS FOLDER");
        return ExitCode::from(2);
    };
    let Ok(seeds) = seeds.parse::<u64>() else {
        eprintln!("SEEDS: expected a number, got {seeds:?}");
        return ExitCode::from(2);
    };
    let start = Instant::now();
    let measured = Algorithm::ALL
        .into_iter()
        .map(|algorithm| {
            let results = DEVICES.iter().map(|device| simulate(algorithm, device, 1, seeds)).collect();
            println!(
                "{}: {} devices, {seeds} seeds, {:.1} s so far",
                algorithm.name(),
                DEVICES.len(),
                start.elapsed().as_secs_f64()
            );
            results
        })
        .collect();
    for (name, text) in [("vardiff.md", page(&measured, seeds)), ("vardiff.svg", plot(seeds.min(PLOT_SEEDS)))] {
        let path = Path::new(folder).join(name);
        if let Err(error) = std::fs::write(&path, text) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("written: {}", path.display());
    }
    ExitCode::SUCCESS
}
