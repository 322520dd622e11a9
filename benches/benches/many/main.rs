//! What many peers cost. Each figure is taken in a process of its own, so that none finds the memory or the sockets of another.

mod figures;
mod forward;
mod idle;
mod messages;
mod ping;
mod setup;
mod viewers;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use antiphon_benches::cost::{REFERENCE_SEAL, at, bare_seal};
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use figures::{Figure, Measured};

const EXAMPLES: &str = "\
Examples (what follows the two dashes is for this program):
  cargo bench -p antiphon-benches --bench many
  cargo bench -p antiphon-benches --bench many -- messages --at 100
  cargo bench -p antiphon-benches --bench many -- viewers forward --rounds 5
  cargo bench -p antiphon-benches --bench many -- --long --out figures/many.csv

Before and after a change, by turns in one run:
  cargo bench -p antiphon-benches --bench many --no-run     # says where the program is: keep a copy
  cargo bench -p antiphon-benches --bench many -- viewers --rounds 5 --beside ../many-before

Two figures stand for each absolute one: as it was measured, and scaled to a machine whose bare AES-128-GCM seal of 1200 bytes
takes 168 ns. The scaled ones of different days and machines compare.";

/// What many peers cost: one port for many, forwarding, idle pairs, set-up.
#[derive(Parser)]
#[command(name = "many", about, long_about = None, after_help = EXAMPLES)]
struct Args {
    /// What to measure; everything if nothing is named.
    #[arg(value_enum)]
    rows: Vec<Row>,
    /// Only with this many packets a second, pairs or receivers (repeatable).
    #[arg(long, value_name = "NUMBER")]
    at: Vec<u32>,
    /// Only this variant of a row, as the table names it (repeatable).
    #[arg(long, value_name = "NAME")]
    variant: Vec<String>,
    /// Longer, with more pairs: for figures that are kept.
    #[arg(long)]
    long: bool,
    /// How often each figure is taken; the median counts.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    rounds: u32,
    /// Another build of this program, which takes turns with this one.
    #[arg(long, value_name = "PROGRAM")]
    beside: Option<PathBuf>,
    /// Writes the figures to this file; a relative path begins in the folder `benches`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Measures one figure, in this process.
    #[arg(long, hide = true)]
    here: bool,
    /// What `cargo bench` says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// Packets forwarded to 50 viewers, for each second of processor time of who sends; by packets a second to each.
    Viewers,
    /// Megabytes a second from many peers to one port; by pairs.
    Messages,
    /// Resident memory and processor time of pairs that have nothing to say; by pairs.
    Idle,
    /// From createOffer to an open channel: time, and processor time.
    Setup,
    /// 64 bytes there and back over one pair.
    Ping,
    /// Forwarding in memory, without sockets; by receivers.
    Forward,
}

/// One thing to measure.
struct Point {
    row: Row,
    variant: &'static str,
    at: u32,
}

impl Row {
    fn name(self) -> String {
        let name = self.to_possible_value().expect("every row has a name");
        name.get_name().to_owned()
    }

    fn points(self) -> Vec<Point> {
        let (variants, numbers): (&[&'static str], &[u32]) = match self {
            Self::Viewers => (&viewers::VARIANTS, &[4000, 1000, 200]),
            Self::Messages => (&messages::VARIANTS, &[1, 10, 100, 1000]),
            Self::Idle => (&idle::VARIANTS, &[10, 100, 1000]),
            Self::Setup => (&[""], &[1]),
            Self::Ping => (&ping::VARIANTS, &[1]),
            Self::Forward => (&forward::VARIANTS, &[10, 100, 500]),
        };
        let pairs = variants.iter().flat_map(|v| numbers.iter().map(move |n| (*v, *n)));
        pairs.map(|(variant, at)| Point { row: self, variant, at }).collect()
    }

    fn measure(self, variant: &str, at: u32, long: bool) -> Vec<Measured> {
        match self {
            Self::Viewers => viewers::measure(variant, at, long),
            Self::Messages => messages::measure(variant, at, long),
            Self::Idle => idle::measure(variant, at, long),
            Self::Setup => setup::measure(long),
            Self::Ping => ping::measure(variant, long),
            Self::Forward => forward::measure(variant, at, long),
        }
    }
}

/// In a process of its own: measures, and says so.
fn measure_here(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let (Some(row), Some(number)) = (args.rows.first(), args.at.first()) else {
        return Err("one row, at one number".into());
    };
    let variant = args.variant.first().map_or("", String::as_str);
    let before = bare_seal();
    let measured = row.measure(variant, *number, args.long);
    // What else the machine did meanwhile made the larger one larger.
    let seal = before.min(bare_seal());
    let figures = measured.into_iter().map(|measured| Figure {
        row: row.name(),
        variant: variant.to_owned(),
        at: *number,
        what: measured.what.to_owned(),
        value: measured.value,
        unit: measured.unit.to_owned(),
        seal_ns: seal,
    });
    figures::write(std::io::stdout(), figures)?;
    // Thousands of connections need not say good-bye to each other.
    std::process::exit(0);
}

/// Has `program` measure one point.
fn ask(program: &Path, point: &Point, long: bool) -> Result<Vec<Figure>, Box<dyn std::error::Error>> {
    let mut command = Command::new(program);
    command.args([&point.row.name(), "--here", "--at", &point.at.to_string()]);
    command.args(["--variant", point.variant]);
    command.args(long.then_some("--long"));
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        let Point { variant, at, .. } = point;
        return Err(format!("{} {variant} {at}: {}", point.row.name(), output.status).into());
    }
    figures::read(&output.stdout[..])
}

/// The median of each figure, over all rounds.
fn medians(rounds: &[Vec<Figure>]) -> Vec<Figure> {
    let first = rounds.first().into_iter().flatten().enumerate();
    let median = |place: usize, of: fn(&Figure) -> f64| {
        let mut all: Vec<f64> = rounds.iter().filter_map(|round| round.get(place)).map(of).collect();
        at(&mut all, 0.5)
    };
    first
        .map(|(place, figure)| Figure {
            value: median(place, |figure| figure.value),
            seal_ns: median(place, |figure| figure.seal_ns),
            ..figure.clone()
        })
        .collect()
}

fn print_head(beside: bool) {
    print!(
        "{:9} {:18} {:>5}  {:34} {:>12} {:>12}",
        "", "", "", "", "measured", "scaled"
    );
    println!(
        "{}",
        if beside {
            format!(" {:>12} {:>8}", "beside", "ratio")
        } else {
            String::new()
        }
    );
}

fn line(figure: &Figure, beside: Option<&Figure>) -> String {
    let Figure {
        row,
        variant,
        at,
        what,
        unit,
        ..
    } = figure;
    let what = format!("{what}, {unit}");
    let mut line = format!(
        "{row:9} {variant:18} {at:5}  {what:34} {:12.2} {:12.2}",
        figure.value,
        figure.scaled(REFERENCE_SEAL)
    );
    if let Some(beside) = beside {
        line += &format!(" {:12.2} {:8.3}", beside.value, figure.value / beside.value);
    }
    line
}

fn measure_all(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let rows = if args.rows.is_empty() {
        Row::value_variants()
    } else {
        &args.rows
    };
    let wanted = |point: &Point| {
        (args.at.is_empty() || args.at.contains(&point.at))
            && (args.variant.is_empty() || args.variant.iter().any(|name| name == point.variant))
    };
    let points: Vec<Point> = rows.iter().flat_map(|row| row.points()).filter(wanted).collect();
    if points.is_empty() {
        return Err("nothing to measure: see --help for the numbers and variants".into());
    }
    let mut programs = vec![std::env::current_exe()?];
    programs.extend(args.beside.clone());
    let steps = points.len() * args.rounds as usize * programs.len();
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar.suspend(|| print_head(args.beside.is_some()));
    let mut all = Vec::new();
    for point in &points {
        bar.set_message(format!("{} {} {}", point.row.name(), point.variant, point.at));
        let mut taken = vec![Vec::new(); programs.len()];
        for round in 0..args.rounds as usize {
            for turn in 0..programs.len() {
                // Each round begins with another one.
                let place = (round + turn) % programs.len();
                taken[place].push(ask(&programs[place], point, args.long)?);
                bar.inc(1);
            }
        }
        let medians: Vec<Vec<Figure>> = taken.iter().map(|rounds| medians(rounds)).collect();
        for (place, figure) in medians[0].iter().enumerate() {
            let beside = medians.get(1).and_then(|beside| beside.get(place));
            bar.suspend(|| println!("{}", line(figure, beside)));
        }
        all.extend(medians.into_iter().next().expect("our own"));
    }
    bar.finish_and_clear();
    let mut seals: Vec<f64> = all.iter().map(|figure| figure.seal_ns).collect();
    println!(
        "bare seal of 1200 bytes: {:.0} ns; scaled: as if it were {REFERENCE_SEAL} ns",
        at(&mut seals, 0.5)
    );
    if let Some(out) = &args.out {
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder)?;
        }
        figures::write(std::fs::File::create(out)?, all.into_iter())?;
        println!("written to {}", out.display());
    }
    Ok(())
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Each pair takes a socket or two. What is not granted shows when they are bound.
    _ = rlimit::increase_nofile_limit(u64::MAX);
    let outcome = if args.here {
        measure_here(&args)
    } else {
        measure_all(&args)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("many: {error}");
            ExitCode::FAILURE
        }
    }
}
