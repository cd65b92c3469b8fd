//! Line charts as SVG, one under the other.

use std::fmt::Write as _;

/// One chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows, with the unit.
    pub title: String,
    /// What is on the x axis, with the unit.
    pub x_label: String,
    /// Whether the x axis is logarithmic; values at or below 0 are left out then.
    pub log_x: bool,
    /// The lines.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
/// Margins: left, right, top, bottom.
const MARGINS: (f64, f64, f64, f64) = (72.0, 16.0, 44.0, 44.0);
const COLOURS: [&str; 6] = ["#0b6e4f", "#c05621", "#5a4fcf", "#8a6d00", "#1f6fb2", "#a02c5a"];
/// Steps that an axis may have, times a power of ten.
const STEPS: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

/// All charts as one picture.
pub fn svg(charts: &[Chart]) -> String {
    let height = HEIGHT * charts.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (index, chart) in charts.iter().enumerate() {
        draw(&mut svg, chart, HEIGHT * index as f64);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where values are in the picture.
struct Scale {
    from: f64,
    to: f64,
    log: bool,
    start: f64,
    end: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        self.start + (value - self.from) / (self.to - self.from).max(1e-12) * (self.end - self.start)
    }

    /// Values to name on the axis.
    fn ticks(&self) -> Vec<f64> {
        if self.log {
            return (self.from.floor() as i32..=self.to.ceil() as i32).map(|power| 10f64.powi(power)).collect();
        }
        let wanted = (self.to - self.from) / 6.0;
        let power = 10f64.powf(wanted.max(1e-12).log10().floor());
        let step = STEPS.iter().map(|step| step * power).find(|step| *step >= wanted).unwrap_or(10.0 * power);
        (0..=12).map(|n| self.from + step * f64::from(n)).filter(|value| *value <= self.to * 1.000_001).collect()
    }
}

fn draw(svg: &mut String, chart: &Chart, offset: f64) {
    let (left, right, top, bottom) = MARGINS;
    let points = || {
        let all = chart.series.iter().flat_map(|series| &series.points);
        all.filter(|(x, _)| !chart.log_x || *x > 0.0)
    };
    let xs = || points().map(|(x, _)| if chart.log_x { x.log10() } else { *x });
    let (least, most) = (xs().fold(f64::INFINITY, f64::min), xs().fold(f64::NEG_INFINITY, f64::max));
    let highest = points().map(|(_, y)| *y).fold(0.0, f64::max);
    let (least, most) = match least <= most {
        true if chart.log_x => (least.floor(), most.ceil().max(least.floor() + 1.0)),
        true => (least.min(0.0), most.max(1e-9)),
        false => (0.0, 1.0),
    };
    let x = Scale { from: least, to: most, log: chart.log_x, start: left, end: WIDTH - right };
    let to = if highest > 0.0 { highest * 1.05 } else { 1.0 };
    let y = Scale { from: 0.0, to, log: false, start: offset + HEIGHT - bottom, end: offset + top };
    axes(svg, chart, &x, &y, offset);
    for (index, series) in chart.series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut path = String::new();
        for (a, b) in series.points.iter().filter(|(a, _)| !chart.log_x || *a > 0.0) {
            let _ = write!(path, "{}{:.1} {:.1}", if path.is_empty() { "M" } else { "L" }, x.at(*a), y.at(*b));
        }
        if !path.is_empty() {
            let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        }
        let at = WIDTH - right - 170.0 * (chart.series.len() - index) as f64;
        let line = offset + 20.0;
        let name = escape(&series.name);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {:.1}h20\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{:.1}\" y=\"{line}\">{name}</text>",
            line - 4.0,
            at + 26.0
        );
    }
}

fn axes(svg: &mut String, chart: &Chart, x: &Scale, y: &Scale, offset: f64) {
    let (title, x_label) = (escape(&chart.title), escape(&chart.x_label));
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" font-weight=\"bold\">{title}</text>", x.start, offset + 20.0);
    for value in y.ticks() {
        let at = y.at(value);
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {at:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            x.start,
            x.end,
            x.start - 8.0,
            at + 4.0,
            number(value)
        );
    }
    for value in x.ticks() {
        let (at, text) = (x.at(value), number(value));
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {:.1}V{:.1}\" stroke=\"#eee\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
            y.start,
            y.end,
            y.start + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{x_label}</text>",
        x.end,
        y.start + 36.0
    );
}

/// Short, whatever the size.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{}M", rounded(value / 1e6)),
        size if size >= 1e4 => format!("{}k", rounded(value / 1e3)),
        _ => rounded(value),
    }
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.001, 1.5, 9_999.0, 20_000.0, 1.5e6].map(number),
            ["0", "0.001", "1.5", "9999", "20k", "1.5M"]
        );
    }

    #[test]
    fn a_chart_keeps_to_its_frame_and_escapes() {
        let points = vec![(0.0, 1.0), (1.0, 5.0), (100.0, 2.0)];
        for log_x in [false, true] {
            let series = vec![Series { name: "a<b".to_owned(), points: points.clone() }];
            let chart = Chart { title: "R&D".to_owned(), x_label: "ms".to_owned(), log_x, series };
            let text = svg(&[chart.clone(), chart]);
            assert!(
                text.contains("R&amp;D") && text.contains("a&lt;b") && !text.contains("NaN") && !text.contains("inf")
            );
        }
    }

    #[test]
    fn nothing_to_draw_is_no_error() {
        let chart = Chart { title: String::new(), x_label: String::new(), log_x: true, series: vec![] };
        assert!(!svg(&[chart]).contains("NaN"));
    }
}
