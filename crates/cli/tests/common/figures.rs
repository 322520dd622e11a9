//! Reads the text format of Prometheus, and takes nothing that it does not allow.

use std::collections::{BTreeMap, BTreeSet};

use super::{Running, http};

/// The samples of a page: by name, and labels as `name=value` in their order.
#[derive(Debug)]
pub struct Figures {
    samples: BTreeMap<(String, Vec<(String, String)>), f64>,
    pub families: BTreeMap<String, String>,
}

impl Figures {
    /// Reads the figures of a server.
    pub async fn of(server: &Running) -> Self {
        let answer = http(server.metrics.unwrap(), "GET", "/metrics", &[], "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let kind = answer.header("content-type").unwrap();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(&answer.body)
    }

    /// The value of a sample; labels in the order of the page.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        self.samples.get(&(name.to_owned(), labels.collect())).copied()
    }

    /// The value of a sample without labels, or 0.
    pub fn value(&self, name: &str) -> f64 {
        self.get(name, &[]).unwrap_or(0.0)
    }

    /// All labels with which a name has samples.
    pub fn labels(&self, name: &str) -> Vec<&[(String, String)]> {
        let own = self.samples.keys().filter(|(own, _)| own == name);
        own.map(|(_, labels)| labels.as_slice()).collect()
    }

    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut families = BTreeMap::new();
        let mut helped = BTreeSet::new();
        let mut samples = BTreeMap::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                assert!(helped.contains(name), "{line}");
                let before = families.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "a family stands in one place: {line}");
                family = name.to_owned();
            } else {
                let (name, labels, value) = sample(line);
                let own = match families.get(&family).map(String::as_str) {
                    Some("histogram") => ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|end| name == format!("{family}{end}")),
                    _ => name == family,
                };
                assert!(own, "{line} is not of {family}");
                assert!(samples.insert((name, labels), value).is_none(), "twice: {line}");
            }
        }
        let figures = Self { samples, families };
        figures.check_histograms();
        figures
    }

    fn check_histograms(&self) {
        for (name, _) in self.families.iter().filter(|(_, kind)| *kind == "histogram") {
            let bucket = format!("{name}_bucket");
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for labels in self.labels(&bucket) {
                let [(label, bound)] = labels else { panic!("{labels:?}") };
                assert_eq!(label, "le");
                let value = self.samples[&(bucket.clone(), labels.to_vec())];
                buckets.push((bound.replace("+Inf", "inf").parse().unwrap(), value));
            }
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.windows(2).all(|two| two[0].1 <= two[1].1), "{buckets:?}");
            let last = buckets.last().unwrap();
            assert_eq!((last.0, last.1), (f64::INFINITY, self.value(&format!("{name}_count"))));
        }
    }
}

/// `name{label="value",...} value`.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").expect(line);
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let mut read = String::new();
            let mut chars = value.char_indices();
            let end = loop {
                match chars.next().expect(line) {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next().expect(line).1 {
                        'n' => read.push('\n'),
                        c @ ('"' | '\\') => read.push(c),
                        other => panic!("{other}: {line}"),
                    },
                    (_, c) => read.push(c),
                }
            };
            labels.push((label.to_owned(), read));
            rest = &value[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect(line);
    }
    let value = rest.strip_prefix(' ').expect(line).parse().expect(line);
    (name.to_owned(), labels, value)
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}
