//! Draws line plots as SVG.

use std::fmt::Write as _;

/// The size of the image and of its margins, in pixels.
const SIZE: (f64, f64) = (720.0, 320.0);
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;

/// The number of points of a line beyond which points are left out.
const POINTS: usize = 400;

/// A line of a plot.
pub struct Line<'a> {
    pub name: &'a str,
    pub color: &'a str,
    pub points: Vec<(f64, f64)>,
}

/// Draws lines whose coordinates start at 0. The labels must not contain characters that are special in XML.
pub fn svg(title: &str, x_label: &str, lines: &[Line<'_>]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_max = points().map(|point| point.0).fold(1.0, f64::max);
    let y_max = points().map(|point| point.1).fold(1.0, f64::max) * 1.05;
    let (width, height) = SIZE;
    let (right, bottom) = (width - RIGHT, height - BOTTOM);
    let x = |value: f64| LEFT + value / x_max * (right - LEFT);
    let y = |value: f64| bottom - value / y_max * (bottom - TOP);

    let mut body = String::new();
    for tick in ticks(x_max) {
        let (at, label) = (x(tick), bottom + 18.0);
        let _ = writeln!(body, r##"<path d="M{at:.1} {TOP}V{bottom}" stroke="#ddd"/>"##);
        let _ = writeln!(body, r#"<text x="{at:.1}" y="{label}" text-anchor="middle">{tick}</text>"#);
    }
    for tick in ticks(y_max) {
        let (at, label) = (y(tick), LEFT - 8.0);
        let _ = writeln!(body, r##"<path d="M{LEFT} {at:.1}H{right}" stroke="#ddd"/>"##);
        let _ = writeln!(body, r#"<text x="{label}" y="{:.1}" text-anchor="end">{tick}</text>"#, at + 4.0);
    }
    for (index, Line { name, color, points }) in lines.iter().enumerate() {
        let points: Vec<String> = points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let points = points.join(" ");
        let _ = writeln!(body, r#"<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>"#);
        let at = LEFT + 110.0 * index as f64;
        let _ = writeln!(body, r#"<text x="{at}" y="42" fill="{color}">{name}</text>"#);
    }
    let middle = f64::midpoint(LEFT, right);
    let below = height - 12.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
    font-family="sans-serif" font-size="12">
<rect width="{width}" height="{height}" fill="#fff"/>
<text x="{LEFT}" y="22" font-size="14">{title}</text>
<text x="{middle}" y="{below}" text-anchor="middle">{x_label}</text>
{body}</svg>
"##
    )
}

/// Returns the values of the grid lines: at most eleven evenly spaced integers from 0 to `max`.
fn ticks(max: f64) -> impl Iterator<Item = f64> {
    let power = 10_f64.powf((max / 10.0).log10().floor()).max(1.0);
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| max / step <= 10.0);
    let step = step.unwrap_or(max);
    (0_u32..).map(move |index| f64::from(index) * step).take_while(move |tick| *tick <= max)
}

/// Counts how many of the times fall into each second. The x coordinate of each point is the middle of its second.
pub fn per_second(times: &[f64]) -> Vec<(f64, f64)> {
    let mut counts: Vec<f64> = Vec::new();
    for time in times {
        let second = time.max(0.0) as usize;
        counts.resize(counts.len().max(second + 1), 0.0);
        counts[second] += 1.0;
    }
    counts.into_iter().enumerate().map(|(second, count)| (second as f64 + 0.5, count)).collect()
}

/// Returns the points of a cumulative plot, which starts at (0, 0). Each later point pairs a time with its position in
/// the sorted list of times, counted from 1. A plot has at most about [`POINTS`] points.
pub fn cumulative(times: &[f64]) -> Vec<(f64, f64)> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let (last, step) = (times.len(), times.len() / POINTS + 1);
    let all = times.into_iter().zip(1_usize..).filter(|(_, count)| count % step == 0 || *count == last);
    std::iter::once((0.0, 0.0)).chain(all.map(|(time, count)| (time, count as f64))).collect()
}
