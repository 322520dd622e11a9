//! The course of a scene as a table (CSV) and a drawing (SVG).

use std::fmt::Write as _;
use std::path::Path;

use antiphon_netsim::Fate;
use plotters::prelude::*;

use super::scene::Scene;

/// How many points a drawing has.
const POINTS: f64 = 250.0;

/// A piece of the course of a scene.
struct Point {
    at: f64,
    capacity: f64,
    /// Of each flow: target, sent, delivered, in bits a second.
    flows: Vec<[f64; 3]>,
    /// The longest wait, in milliseconds.
    wait: f64,
    /// Of the packets of the piece, in percent.
    dropped: f64,
}

fn course(scene: &Scene, piece: f64) -> Vec<Point> {
    let end = scene.now();
    let count = (end / piece).round() as usize;
    let mut points: Vec<Point> = (0..count)
        .map(|number| {
            let from = number as f64 * piece;
            Point {
                at: from,
                capacity: scene.carries(from, from + piece) / piece,
                flows: (0..scene.flows.len())
                    .map(|flow| [scene.target(flow, from), 0.0, 0.0])
                    .collect(),
                wait: 0.0,
                dropped: 0.0,
            }
        })
        .collect();
    let mut packets = vec![0u32; count];
    for crossing in &scene.crossings {
        let number = ((crossing.at - scene.start).as_secs_f64() / piece) as usize;
        let Some(point) = points.get_mut(number) else { continue };
        packets[number] += 1;
        point.dropped += f64::from(u8::from(crossing.fate == Fate::Dropped));
        point.wait = point.wait.max(crossing.waited.as_secs_f64() * 1e3);
        let Some(flow) = scene.flows.iter().position(|flow| flow.sources[0] == crossing.source) else {
            continue;
        };
        let rate = crossing.bytes as f64 * 8.0 / piece;
        point.flows[flow][1] += rate;
        point.flows[flow][2] += if crossing.fate == Fate::Carried { rate } else { 0.0 };
    }
    for (point, packets) in points.iter_mut().zip(packets) {
        point.dropped *= 100.0 / f64::from(packets.max(1));
    }
    points
}

/// Time in seconds, rates in kbit/s, the longest wait in ms, drops in percent, whole frames of the first flow so far.
pub(crate) fn csv(scene: &Scene) -> String {
    let mut text = "time,capacity,".to_owned();
    for flow in 0..scene.flows.len() {
        let _ = write!(text, "target{flow},sent{flow},delivered{flow},");
    }
    text.push_str("wait,dropped,frames\n");
    for point in course(scene, 0.1) {
        let _ = write!(text, "{:.1},{:.0},", point.at, point.capacity / 1e3);
        for [target, sent, delivered] in &point.flows {
            let _ = write!(text, "{:.0},{:.0},{:.0},", target / 1e3, sent / 1e3, delivered / 1e3);
        }
        let frames = scene.seen(0, point.at, f64::MAX).next().map_or(0, |seen| seen.frames);
        let _ = writeln!(text, "{:.1},{:.1},{frames}", point.wait, point.dropped);
    }
    text
}

/// Draws rates above, and the wait in the queue below.
pub(crate) fn svg(scene: &Scene, title: &str, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let end = scene.now();
    let points = course(scene, (end / POINTS).max(0.1));
    let most = points.iter().map(|point| point.capacity).fold(0.0, f64::max);
    let targets = points.iter().flat_map(|point| point.flows.iter().map(|flow| flow[0]));
    let top = (targets.fold(most, f64::max)).min(1.6 * most) * 1.1 / 1e6;
    let longest = points.iter().map(|point| point.wait).fold(20.0, f64::max);
    let area = SVGBackend::new(file, (720, 360)).into_drawing_area();
    area.fill(&WHITE)?;
    let (above, below) = area.split_vertically(240);
    let mut rates = ChartBuilder::on(&above)
        .caption(title, ("sans-serif", 14))
        .margin(6)
        .set_label_area_size(LabelAreaPosition::Left, 44)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    rates
        .configure_mesh()
        .x_labels(0)
        .y_labels(5)
        .light_line_style(TRANSPARENT)
        .y_desc("Mbit/s")
        .draw()?;
    let capacity = points.iter().flat_map(|point| [(point.at, point.capacity / 1e6)]);
    rates.draw_series(LineSeries::new(capacity, BLACK.stroke_width(1)))?;
    for flow in 0..scene.flows.len() {
        let color = Palette99::pick(flow);
        let delivered = points.iter().map(|point| (point.at, point.flows[flow][2] / 1e6));
        rates.draw_series(LineSeries::new(delivered, color.mix(0.35).stroke_width(1)))?;
        let targets = points
            .iter()
            .map(|point| (point.at, (point.flows[flow][0] / 1e6).min(top)));
        rates.draw_series(LineSeries::new(targets, color.stroke_width(2)))?;
    }
    let mut waits = ChartBuilder::on(&below)
        .margin(6)
        .set_label_area_size(LabelAreaPosition::Left, 44)
        .set_label_area_size(LabelAreaPosition::Bottom, 24)
        .build_cartesian_2d(0.0..end, 0.0..longest)?;
    waits
        .configure_mesh()
        .x_labels(10)
        .y_labels(3)
        .light_line_style(TRANSPARENT)
        .y_desc("wait, ms")
        .draw()?;
    waits.draw_series(LineSeries::new(
        points.iter().map(|point| (point.at, point.wait)),
        RED.stroke_width(1),
    ))?;
    let drops = points.iter().filter(|point| point.dropped > 0.0);
    waits.draw_series(drops.map(|point| Circle::new((point.at, longest * 0.95), 2, BLACK.filled())))?;
    area.present()?;
    Ok(())
}

/// Writes both beside each other.
pub(crate) fn write(folder: &Path, number: u32, name: &str, link: &str, scene: &Scene) {
    let file = |ending: &str| folder.join(format!("{number:02}-{name}.{ending}"));
    std::fs::create_dir_all(folder).expect("a folder for the plots");
    std::fs::write(file("csv"), csv(scene)).expect("the course is written");
    svg(scene, &format!("{number} {name}: {link}"), &file("svg")).expect("the drawing is written");
}
