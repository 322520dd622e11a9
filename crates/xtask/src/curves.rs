//! Draws how figures grow with the number of peers, from those that are kept in benches/figures/many.csv.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use plotters::coord::Shift;
use plotters::prelude::*;
use serde::Deserialize;

use crate::shell::root;

/// What the benches wrote, and what becomes of it.
const FIGURES: &str = "benches/figures/many.csv";
const PICTURE: &str = "docs/curves.svg";
const SIZE: (u32, u32) = (960, 640);
/// Of the lines of one chart; they differ for eyes that do not tell red from green.
const COLOURS: [RGBColor; 3] = [RGBColor(0, 90, 181), RGBColor(220, 50, 32), RGBColor(110, 110, 110)];

/// One line of the file; it has more.
#[derive(Deserialize)]
struct Figure {
    row: String,
    variant: String,
    at: u32,
    what: String,
    value: f64,
    seal_ns: f64,
}

struct Chart {
    title: &'static str,
    row: &'static str,
    what: &'static str,
    /// What stands on the lower edge.
    of: &'static str,
    /// A line for the bare seal of one packet.
    seal: bool,
}

const CHARTS: [Chart; 4] = [
    Chart {
        title: "Messages of many peers to one port, MB/s",
        row: "messages",
        what: "in a second",
        of: "pairs",
        seal: false,
    },
    Chart {
        title: "Memory of an idle pair, both ends, KiB",
        row: "idle",
        what: "resident, a pair",
        of: "pairs",
        seal: false,
    },
    Chart {
        title: "CPU of an idle pair, both ends, µs each second",
        row: "idle",
        what: "CPU, a pair and second",
        of: "pairs",
        seal: false,
    },
    Chart {
        title: "One packet to many receivers, in memory, ns each",
        row: "forward",
        what: "a forwarded packet",
        of: "receivers",
        seal: true,
    },
];

type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// The lines of a chart, by variant.
fn lines(chart: &Chart, figures: &[Figure]) -> Lines {
    let mut lines = Lines::new();
    for figure in figures.iter().filter(|f| f.row == chart.row && f.what == chart.what) {
        let name = if figure.variant.is_empty() {
            "antiphon"
        } else {
            &figure.variant
        };
        let at = f64::from(figure.at);
        lines.entry(name.to_owned()).or_default().push((at, figure.value));
        if chart.seal {
            lines
                .entry("bare AES-128-GCM".to_owned())
                .or_default()
                .push((at, figure.seal_ns));
        }
    }
    lines
}

fn draw<B: DrawingBackend>(chart: &Chart, lines: &Lines, area: &DrawingArea<B, Shift>) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let points = || lines.values().flatten();
    let (first, last) = points().fold((f64::MAX, 1.0_f64), |(least, most), (x, _)| {
        (least.min(*x), most.max(*x))
    });
    let top = points().fold(0.0_f64, |top, (_, y)| top.max(*y)) * 1.15;
    let mut axes = ChartBuilder::on(area)
        .caption(chart.title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d((first..last).log_scale(), 0.0..top)?;
    axes.configure_mesh()
        .disable_x_mesh()
        .x_desc(chart.of)
        .x_labels(4)
        .y_labels(6)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style(("sans-serif", 13))
        .draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
        axes.draw_series(line)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    // Where no line is: the seal's is at the bottom, and the others begin high.
    let place = match chart.seal {
        true => SeriesLabelPosition::UpperLeft,
        false => SeriesLabelPosition::LowerLeft,
    };
    axes.configure_series_labels()
        .position(place)
        .label_font(("sans-serif", 13))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

fn picture(figures: &[Figure]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let whole = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        whole.fill(&WHITE)?;
        for (chart, area) in CHARTS.iter().zip(whole.split_evenly((2, 2))) {
            let lines = lines(chart, figures);
            if lines.is_empty() {
                return Err(format!("{FIGURES}: nothing of `{}`, {}", chart.row, chart.what).into());
            }
            draw(chart, &lines, &area)?;
        }
        whole.present()?;
    }
    Ok(svg)
}

/// Reads the figures and writes the picture.
pub(crate) fn run() -> Result<(), String> {
    let drawn = || -> Result<(), Box<dyn Error>> {
        let mut reader = csv::Reader::from_path(root().join(FIGURES))?;
        let figures: Vec<Figure> = reader.deserialize().collect::<Result<_, _>>()?;
        fs::write(root().join(PICTURE), picture(&figures)?)?;
        Ok(())
    };
    drawn().map_err(|error| error.to_string())?;
    println!("{PICTURE} shows what {FIGURES} says");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_line_for_each_variant() {
        let figure = |row: &str, what: &str, variant: &str, at, value| Figure {
            row: row.to_owned(),
            variant: variant.to_owned(),
            at,
            what: what.to_owned(),
            value,
            seal_ns: 170.0,
        };
        let mut figures = Vec::new();
        for (at, value) in [(1, 1000.0), (10, 900.0), (1000, 500.0)] {
            figures.push(figure("messages", "in a second", "1 KiB", at, value));
            figures.push(figure("messages", "in a second", "64 KiB", at, 2.0 * value));
            figures.push(figure("idle", "resident, a pair", "one port", at, 60.0));
            figures.push(figure("idle", "CPU, a pair and second", "one port", at, 15.0));
            figures.push(figure("forward", "a forwarded packet", "", at, 300.0));
        }
        let messages = lines(&CHARTS[0], &figures);
        assert_eq!(messages.keys().collect::<Vec<_>>(), ["1 KiB", "64 KiB"]);
        assert_eq!(messages["64 KiB"], [(1.0, 2000.0), (10.0, 1800.0), (1000.0, 1000.0)]);
        assert_eq!(lines(&CHARTS[3], &figures)["bare AES-128-GCM"][0], (1.0, 170.0));
        let svg = picture(&figures).unwrap();
        assert!(svg.contains("64 KiB") && svg.contains("polyline"), "{svg}");
        assert!(picture(&figures[..2]).is_err(), "a chart without figures");
    }
}
