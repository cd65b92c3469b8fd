//! The page and the plot in `docs/`.

use std::fmt::Write as _;

use crate::{
    algorithms::Algorithm,
    devices::{DEVICES, Device},
    measure::{Change, Reached, Results, Totals, percentile, trace},
};

/// The page's text, with places for the tables.
const PAGE: &str = include_str!("page.md");

/// Everything that was measured: by algorithm, in their order, then by device.
pub type Measured = Vec<Vec<Results>>;

/// The page, from results by algorithm (as in [`Algorithm::ALL`]) and device (as in [`DEVICES`]).
pub fn page(measured: &Measured, seeds: u64) -> String {
    PAGE.replace("{seeds}", &thousands(seeds))
        .replace("{changes}", &changes(measured))
        .replace("{steady}", &steady(measured))
        .replace("{devices}", &devices(measured.first().map_or(&[], Vec::as_slice)))
}

/// All runs of a change, on these devices, in which the target was not right already.
fn runs(results: &[Results], change: usize, rising: bool, wanted: impl Fn(&Device) -> bool) -> Vec<Reached> {
    let devices = DEVICES.iter().zip(results).filter(|(device, _)| wanted(device));
    let all = devices.flat_map(|(_, results)| results.reached[change].iter());
    all.filter(|run| !run.at_once && run.rising == rising).copied().collect()
}

/// The median and the 95th percentile of something, where it was reached.
fn both(runs: &[Reached], value: impl Fn(&Reached) -> f64) -> String {
    let mut values: Vec<f64> =
        runs.iter().map(|run| if run.shares.is_some() { value(run) } else { f64::INFINITY }).collect();
    let cell = |value: f64| match value {
        v if v.is_nan() => "–".to_owned(),
        v if v.is_infinite() => "never".to_owned(),
        v if v < 9.95 && v.fract() != 0.0 => format!("{v:.1}"),
        v => thousands(v.round() as u64),
    };
    format!("{} / {}", cell(percentile(&mut values, 0.5)), cell(percentile(&mut values, 0.95)))
}

fn changes(measured: &Measured) -> String {
    let rows = [
        ("starts with a target that is too easy", 0, true),
        ("ten times as fast", 1, true),
        ("a thousand times as fast", 2, true),
        ("starts with a target that is too hard", 0, false),
        ("half as fast", 3, false),
        ("a tenth as fast", 4, false),
        ("a thousandth as fast", 5, false),
    ];
    let mut table = String::from(
        "| The device … | algorithm | runs | followed | shares | shares until the device has it | new targets | seconds |\n|---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for (text, change, rising) in rows {
        for (algorithm, results) in Algorithm::ALL.iter().zip(measured) {
            let runs = runs(results, change, rising, Device::is_regular);
            if runs.is_empty() {
                continue;
            }
            let followed = runs.iter().filter(|run| run.shares.is_some()).count();
            let _ = writeln!(
                table,
                "| {text} | {} | {} | {:.1} % | {} | {} | {} | {} |",
                algorithm.name(),
                thousands(runs.len() as u64),
                followed as f64 / runs.len() as f64 * 100.0,
                both(&runs, |run| run.shares.unwrap_or(0) as f64),
                both(&runs, |run| run.shares_in_force as f64),
                both(&runs, |run| f64::from(run.steps)),
                both(&runs, |run| run.seconds),
            );
        }
    }
    table
}

fn steady(measured: &Measured) -> String {
    let mut table = String::from(
        "| algorithm | devices served | hours | false new targets per hour | the same, worst device | new targets per hour | shares a minute | late shares |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (algorithm, results) in Algorithm::ALL.iter().zip(measured) {
        let mut sum = Totals::default();
        let mut worst: f64 = 0.0;
        for results in results {
            sum.add(&results.totals);
            worst = worst.max(results.totals.per_hour(results.totals.false_retargets));
        }
        let _ = writeln!(
            table,
            "| {} | {} | {} | {:.2} | {worst:.2} | {:.2} | {:.1} | {:.2} % |",
            algorithm.name(),
            results.iter().filter(|results| results.totals.hours > 0.0).count(),
            thousands(sum.hours.round() as u64),
            sum.per_hour(sum.false_retargets),
            sum.per_hour(sum.retargets),
            sum.per_hour(sum.shares) / 60.0,
            sum.late as f64 / sum.shares.max(1) as f64 * 100.0,
        );
    }
    table
}

fn devices(ours: &[Results]) -> String {
    let mut table = String::from(
        "| device | false new targets per hour | × 10: shares | × 1,000: shares | ÷ 10: new targets | ÷ 10: seconds | ÷ 1,000: new targets | ÷ 1,000: seconds |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (index, (device, results)) in DEVICES.iter().zip(ours).enumerate() {
        let one = std::slice::from_ref(results);
        let of = |change: Change, rising: bool| {
            let all = one[0].reached[change as usize].iter();
            all.filter(|run| !run.at_once && run.rising == rising).copied().collect::<Vec<_>>()
        };
        let _ = writeln!(
            table,
            "| {}. {} | {:.2} | {} | {} | {} | {} | {} | {} |",
            index + 1,
            device.name,
            results.totals.per_hour(results.totals.false_retargets),
            both(&of(Change::RiseBy10, true), |run| run.shares.unwrap_or(0) as f64),
            both(&of(Change::RiseBy1000, true), |run| run.shares.unwrap_or(0) as f64),
            both(&of(Change::FallBy10, false), |run| f64::from(run.steps)),
            both(&of(Change::FallBy10, false), |run| run.seconds),
            both(&of(Change::FallBy1000, false), |run| f64::from(run.steps)),
            both(&of(Change::FallBy1000, false), |run| run.seconds),
        );
    }
    table
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Width and height of the plot, and its margins: left, right, top, bottom.
const SIZE: (f64, f64) = (960.0, 420.0);
const MARGINS: (f64, f64, f64, f64) = (64.0, 16.0, 40.0, 48.0);
/// Seconds that it shows, and powers of two up and down.
const SECONDS: f64 = 7_200.0;
const RANGE: f64 = 11.0;
/// The hashrate is multiplied at these times.
const EVENTS: [(f64, f64); 3] = [(1_800.0, 10.0), (3_600.0, 0.1), (5_400.0, 1e-3)];
const COLOURS: [&str; 3] = ["#0b6e4f", "#c05621", "#5a4fcf"];

/// An SVG: how far the target is off over time, median over seeds, for the device that claims 1 TH/s and does 104 TH/s.
pub fn plot(seeds: u64) -> String {
    let device = DEVICES.iter().find(|device| device.name.starts_with("ASIC, 104")).unwrap_or(&DEVICES[0]);
    let (left, right, top, bottom) = MARGINS;
    let x = |seconds: f64| left + seconds / SECONDS * (SIZE.0 - left - right);
    let y = |steps: f64| {
        let part = (RANGE - steps.clamp(-RANGE, RANGE)) / (2.0 * RANGE);
        top + part * (SIZE.1 - top - bottom)
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        SIZE.0, SIZE.1
    );
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#e8f3ee\"/>",
        x(0.0),
        y(1.5),
        x(SECONDS) - x(0.0),
        y(-1.5) - y(1.5)
    );
    for step in (-10..=10).step_by(2) {
        let at = y(f64::from(step));
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {at:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{step:+}</text>",
            x(0.0),
            x(SECONDS),
            left - 8.0,
            at + 4.0
        );
    }
    for minute in (0..=120).step_by(15) {
        let at = x(f64::from(minute) * 60.0);
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{minute} min</text>",
            SIZE.1 - bottom + 20.0
        );
    }
    for (at, text) in [(0.0, "start"), (1_800.0, "× 10"), (3_600.0, "÷ 10"), (5_400.0, "÷ 1,000")] {
        let _ = writeln!(
            svg,
            "<path d=\"M{0:.1} {1:.1}V{2:.1}\" stroke=\"#999\" stroke-dasharray=\"4 4\"/><text x=\"{3:.1}\" y=\"{4:.1}\" fill=\"#555\">{text}</text>",
            x(at),
            top,
            SIZE.1 - bottom,
            x(at) + 6.0,
            SIZE.1 - bottom - 8.0
        );
    }
    for (i, (algorithm, colour)) in Algorithm::ALL.into_iter().zip(COLOURS).enumerate() {
        let points = trace(algorithm, device, &EVENTS, SECONDS, seeds);
        let mut path = String::new();
        for (index, value) in points.iter().enumerate() {
            let seconds = SECONDS * index as f64 / (points.len() - 1) as f64;
            let _ = write!(path, "{}{:.1} {:.1}", if index == 0 { "M" } else { "L" }, x(seconds), y(*value));
        }
        let at = left + 90.0 * i as f64;
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n<path d=\"M{at:.1} 20h22\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{:.1}\" y=\"24\">{}</text>",
            at + 28.0,
            algorithm.name()
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"24\" text-anchor=\"end\" fill=\"#555\">too hard is up, in powers of two; median of {seeds} runs</text>\n</svg>",
        SIZE.0 - right
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_page_has_no_empty_places() {
        let measured = vec![vec![Results::default(); DEVICES.len()]; 3];
        assert!(!page(&measured, 7).contains(['{', '}']));
    }
}
